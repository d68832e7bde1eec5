// Learning rates, and other settings, that follow the step: everything that TensorFlow 1, Keras and
// PyTorch have. t is the step, from 0; values are computed in double.
//
//     Adam{.learning_rate = Warmup{.steps = 500, .then = CosineDecay{.initial = 1e-3,
//                                                                    .decay_steps = 10000}}}
//
// Settings that make no sense (no steps, unequal lists, NaN) throw InvalidArgument where the struct
// becomes a Schedule.
#pragma once

#include "rein/apply/schedules/cycle.h"
#include "rein/apply/schedules/decay.h"
#include "rein/apply/schedules/plateau.h"
