// Every clip and scaling of gradients: functions on gradients and lists of them, and the same as
// transforms. docs/gradient-processing.md has them in one table.
#pragma once

#include "rein/process/clip_by_global_norm.h"
#include "rein/process/clip_by_history.h"
#include "rein/process/clip_by_norm.h"
#include "rein/process/clip_by_value.h"
#include "rein/process/conditional.h"
#include "rein/process/groups.h"
#include "rein/process/per_example.h"
#include "rein/process/scale.h"
#include "rein/process/units.h"
