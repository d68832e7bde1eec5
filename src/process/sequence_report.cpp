#include "rein/process/sequence_report.h"

#include <fmt/format.h>

#include <cmath>

namespace rein {

double GradientByLag::factor() const {
  if (by_lag.size() < 2) return 1;
  if (by_lag.front() == 0) return by_lag.back();  // 0, unless it is not finite
  return std::pow(by_lag.back() / by_lag.front(), 1 / static_cast<double>(by_lag.size() - 1));
}

std::string to_string(const SequenceReport& report) {
  std::string text;
  for (const GradientByLag& s : report.states) {
    if (s.by_lag.empty()) continue;
    const size_t last = s.by_lag.size() - 1;
    text += fmt::format("{}: {:.2g} of the gradient after {} steps, {:.3g} times a step\n", s.state,
                        s.by_lag[last], last, s.factor());
  }
  for (const GateReport& g : report.gates)
    text += fmt::format("gate {}: mean {:.2g}, {:.0f} % closed, {:.0f} % open\n", g.name, g.mean,
                        100 * g.closed, 100 * g.open);
  return text;
}

}  // namespace rein
