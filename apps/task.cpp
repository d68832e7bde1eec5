#include "task.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

namespace rein::app {
namespace {

constexpr std::string_view kGenerated = "generated";
constexpr int64_t kTrainStrokes = 20000, kTestStrokes = 4000;

LabelledImages first(const LabelledImages& all, int64_t limit) {
  const int64_t count = std::min(limit, all.images.shape()[0]);
  Shape shape = all.images.shape();
  shape[0] = count;
  return {all.images.piece(0, shape), all.labels.piece(0, {count})};
}

}  // namespace

ImageTask load_task(TrainSettings& settings) {
  if (settings.data.empty()) {
    const bool found = has_fashion_mnist(kFashionMnistFolder);
    settings.data = found ? kFashionMnistFolder : kGenerated;
    if (!found)
      fmt::print(stderr,
                 "Fashion-MNIST is not in {}.\n"
                 "Get it by `apt-get install dataset-fashion-mnist`, or name its folder with "
                 "--data DIR.\n"
                 "Training on the built-in task of generated strokes instead.\n",
                 kFashionMnistFolder);
  }
  ImageTask task;
  if (settings.data == kGenerated) {
    // Only as many as are wanted: an image does not depend on how many there are.
    const int64_t most = settings.limit > 0 ? settings.limit : kTrainStrokes;
    task = generate_strokes(Seed{static_cast<uint64_t>(settings.seed)},
                            std::min(most, kTrainStrokes), std::min(most, kTestStrokes));
  } else {
    settings.data = std::filesystem::absolute(settings.data).lexically_normal().string();
    task = load_fashion_mnist(settings.data);
  }
  if (settings.limit > 0) {
    task.train = first(task.train, settings.limit);
    task.test = first(task.test, settings.limit);
  }
  return task;
}

const ClassNames& class_names(const TrainSettings& settings) {
  return settings.data == kGenerated ? kStrokeClasses : kFashionMnistClasses;
}

}  // namespace rein::app
