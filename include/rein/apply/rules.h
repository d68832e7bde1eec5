// The update rules, by families. Settings are decimals, rounded to the type of the variables where
// they are used. A negative or NaN learning rate, decays outside [0, 1) and a negative epsilon
// throw InvalidArgument.
#pragma once

#include "rein/apply/rules/adafactor.h"
#include "rein/apply/rules/adam.h"
#include "rein/apply/rules/adam_variants.h"
#include "rein/apply/rules/clip_updates.h"
#include "rein/apply/rules/descent.h"
#include "rein/apply/rules/ftrl.h"
#include "rein/apply/rules/groups.h"
#include "rein/apply/rules/muon.h"
#include "rein/apply/rules/root_mean_square.h"
#include "rein/apply/rules/schedule_free.h"
#include "rein/apply/rules/sign.h"
#include "rein/apply/rules/trust_ratio.h"
#include "rein/apply/rules/weight_average.h"
