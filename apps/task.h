// The data of a run.
#pragma once

#include "rein/data/images.h"
#include "train_settings.h"

namespace rein::app {

/// Loads what `settings.data` names, cut to `settings.limit`. If it names nothing: Fashion-MNIST
/// where Debian puts it, or, saying so on stderr, the generated task. `settings.data` is then what
/// was taken, so that the same data is found again.
ImageTask load_task(TrainSettings& settings);

/// Of the data that `settings.data` names.
const ClassNames& class_names(const TrainSettings& settings);

}  // namespace rein::app
