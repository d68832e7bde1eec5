// What the norms that a Monitor saw say about clips, in words.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "rein/process/monitor_report.h"

namespace rein {

enum class AdviceKind : uint8_t {
  too_few_steps,      // nothing else is said then
  no_gradient,        // all of them are 0
  non_finite,         // some steps had no finite gradient
  skips,              // many finite steps are skipped
  growing,            // the norms grow: training diverges
  tail,               // a few norms are far above the others
  never_clips,        // nothing was clipped
  clips_outliers,     // as it should be
  clips_often,        // the limit lies among the usual norms
  clips_always,       // the limit works as a learning rate
  dominant_variable,  // one variable makes the global norm
  idle_variable,      // one never had a gradient
  large_update,       // steps are large beside what they move
  vanishing,          // of the gradient hardly anything reaches the first time steps
  exploding,          // it grows on its way back through time
  closed_gate         // a gate lets nothing through, or a tanh is at its ends
};

struct Advice {
  AdviceKind kind{};
  std::string text{};                 // a sentence or two, with the numbers in them
  std::optional<double> clip_norm{};  // the global limit to try
  std::string variable{};             // whom it is about, if one
  std::vector<std::pair<std::string_view, double>> evidence{};  // the numbers by name
};

/// "p50 1.8, p95 4.1, you clip 74 % of steps to 1; try 4." The rules:
///  - a limit is for outliers: about the 95th percentile of the norms, so that one step in twenty
///    is clipped (Pascanu et al. 2013 start from the average norm; Seetharaman et al. 2020 from a
///    percentile);
///  - where nothing was ever clipped, twice the largest norm is the limit to try: as a guard it
///    costs nothing;
///  - suggested numbers are round: 1, 1.5, 2, 2.5, 3, 4, 5, 6, 8 and powers of ten of them;
///  - none of it is a proof: the loss decides.
struct ClipAdvisor {
  int64_t fewest = 20;    // finite steps that it needs
  double skips = 0.1;     // share of the finite steps that are skipped
  double often = 0.25;    // clip rates from here on are clips_often ...
  double always = 0.95;   // ... and from here on clips_always
  double tail = 20;       // largest norm / median
  double growth = 10;     // median norm of the newest quarter / that of the oldest
  double dominant = 0.9;  // share of the global norm^p, of at least three variables
  double large = 0.1;     // length of an update / length of the variable
  // Of what the monitor was given about the sequence: the gradient's part that reaches the first
  // time step, and the share of closed activations.
  double vanishes = 1e-6, explodes = 100;
  double closes = 0.9;

  /// Of most importance first. There is always exactly one on how often clips act, unless there are
  /// too few steps, no gradients, or none that was not skipped.
  std::vector<Advice> advise(const MonitorReport& report) const;
};

/// The nearest round number (see above), by their ratio; of 0 it is 0.
double round_limit(double number);

}  // namespace rein
