// What is known of a step.
#pragma once

#include <cstdint>
#include <string>

namespace rein {

struct Norms;

/// Filled in by the stages as a step goes through them; callbacks, logs and reports read it and
/// compute nothing again.
struct StepInfo {
  int64_t step = 0;      // its number, from 1; skipped ones count
  int64_t examples = 0;  // in its batch, 0 if not known: what limits `per_sample` are multiplied by
  double loss = 0;
  bool measured = false;      // whether a transform took the two norms
  double norm = 0;            // global norm of the gradient before the first clip
  double clipped_norm = 0;    // and after the last
  double scale = 1;           // what clips by the global norm multiplied by
  bool clipped = false;       // whether a clip changed anything
  bool finite = true;         // whether the loss is, and the gradient as far as a transform looked
  std::string non_finite{};   // the first variable whose gradient is not
  bool skip = false;          // a transform asks that nothing be changed
  int64_t micro_batches = 1;  // whose mean gradient this is
  double loss_scale = 1;      // by which the loss was multiplied; all numbers here are without it
  double seconds = 0;
  // While a Monitor waits for them: where the first transform that takes norms leaves them, unless
  // there are some.
  Norms* norms_wanted = nullptr;
};

}  // namespace rein
