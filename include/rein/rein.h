// Everything a program that trains needs. Files and formats (rein/io, rein/data) are apart.
#pragma once

#include "rein/apply/apply.h"
#include "rein/apply/rules.h"
#include "rein/base/thread_team.h"
#include "rein/compute/ops.h"
#include "rein/compute/tape.h"
#include "rein/nn/cell.h"
#include "rein/nn/clip.h"
#include "rein/nn/initializers.h"
#include "rein/nn/linear.h"
#include "rein/nn/losses.h"
#include "rein/process/clip.h"
#include "rein/process/clip_advisor.h"
#include "rein/process/finite.h"
#include "rein/process/monitor.h"
#include "rein/train/optimizer.h"
#include "rein/train/step.h"
