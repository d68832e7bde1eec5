// What the settings of several rules have in common.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "rein/apply/rule.h"

namespace rein {

/// Whose formula a rule follows, where systems differ under one name: TensorFlow's tf.train and its
/// update kernels, keras.optimizers, torch.optim, Optax. Each rule says what its forms are; a form
/// that it has not is an InvalidArgument.
enum class RuleForm : uint8_t { tensorflow, keras, pytorch, optax };
std::string_view to_string(RuleForm form);

/// How weights w are pulled towards 0: added to the gradient, g + weight_decay w, before the rule
/// sees it (an L2 penalty); or apart from the gradient, w -= learning_rate weight_decay w
/// (Loshchilov, Hutter: "Decoupled weight decay regularization", 2019). Sparse rows that are not
/// there decay only where the rule treats sparse gradients as dense.
enum class Decay : uint8_t { coupled, decoupled };
std::string_view to_string(Decay decay);

std::string_view to_string(SparseUpdate sparse);

/// Steps, and the gradients that each variable has had.
struct StepCount {
  int64_t steps = 0;
  std::vector<int64_t> of;  // per variable

  void start(const Variables& variables) { of.assign(variables.size(), 0); }
  void advance(const Gradients& gradients);
  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("steps", self.steps);
    f("of", self.of);
  }
};

}  // namespace rein
