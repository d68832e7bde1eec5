// What is known of a step.
#pragma once

#include <cstdint>
#include <string>

namespace rein {

struct Norms;

/// Filled in by the stages as a step goes through them; callbacks, logs and reports read it and
/// compute nothing again.
struct StepInfo {
  int64_t step = 0;  // its number, from 1; skipped ones count
  // How many are in the batch, or in each of the micro-batches that are gathered; 0 if not known;
  // on several ranks the mean of theirs. Limits `per_sample` are multiplied by it.
  int64_t examples = 0;
  double loss = 0;
  bool measured = false;      // whether a transform took the two norms
  double norm = 0;            // global norm of the gradient before the first clip
  double clipped_norm = 0;    // and after the last
  double norm_type = 2;       // the order of both, as of ClipByGlobalNorm; not among the fields
  double scale = 1;           // what clips by the global norm multiplied by
  bool clipped = false;       // whether a clip changed anything but roundings
  bool finite = true;         // whether the loss is, and the gradient as far as a transform looked
  std::string non_finite{};   // the first variable whose gradient is not
  bool skip = false;          // a transform asks that nothing be changed
  int64_t micro_batches = 1;  // whose mean gradient this is, those of all ranks
  // With per_example: of all micro-batches and ranks, those whose own gradient was clipped or left
  // out.
  int64_t clipped_examples = 0;
  double loss_scale = 1;     // by which the loss was multiplied; all numbers here are without it
  double learning_rate = 0;  // that the rule took; 0 if the step was skipped or it has none
  bool rolled_back = false;  // to parameters that were healthy, with a Rollback
  int64_t rollbacks = 0;     // up to now, this one included
  double seconds = 0;
  // While a Monitor waits for them: where the first transform that takes norms leaves them, unless
  // there are some.
  Norms* norms_wanted = nullptr;

  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("step", self.step);
    f("examples", self.examples);
    f("loss", self.loss);
    f("measured", self.measured);
    f("norm", self.norm);
    f("clipped_norm", self.clipped_norm);
    f("scale", self.scale);
    f("clipped", self.clipped);
    f("finite", self.finite);
    f("non_finite", self.non_finite);
    f("skip", self.skip);
    f("micro_batches", self.micro_batches);
    f("clipped_examples", self.clipped_examples);
    f("loss_scale", self.loss_scale);
    f("learning_rate", self.learning_rate);
    f("rolled_back", self.rolled_back);
    f("rollbacks", self.rollbacks);
    f("seconds", self.seconds);
  }
};

}  // namespace rein
