// What a run tells of its gradients.
#pragma once

#include <string>

#include "model.h"
#include "rein/io/json_lines.h"
#include "rein/process/monitor.h"

namespace rein::app {

class Watch {
 public:
  AnyTransform around(AnyTransform process) const { return monitor_.around(std::move(process)); }
  /// How gradients come back through the rows of the first images, and how open the gates are:
  /// noted, and returned for the metrics of an epoch.
  JsonObject look_inside(const RowLstm& model, const Tensor& images);
  /// What to set, a line each: `advice: p50 1.8, p95 4.1, you clip 74 % of steps to 1; try 4.
  /// (--clip global:4)`. Empty if there is nothing to say.
  std::string advice(const TrainSettings& settings) const;

 private:
  Monitor monitor_{{.window = 1024}};
};

}  // namespace rein::app
