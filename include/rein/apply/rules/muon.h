// Muon: momentum made orthogonal.
#pragma once

#include <string>

#include "rein/apply/rules/adam.h"

namespace rein {

/// How long Muon's steps are for a matrix [rows, columns], that takes `rows` numbers to `columns`.
enum class MuonScale : uint8_t {
  original,  // sqrt(max(1, columns / rows))
  rms        // 0.2 sqrt(max(rows, columns)): as long as Adam's, whose learning rate fits then
};
std::string_view to_string(MuonScale scale);

/// For matrices (Jordan et al.: "Muon: an optimizer for hidden layers in neural networks", 2024):
///
///     a = momentum a + (1 - momentum) g, u = (1 - momentum) g + momentum a (Nesterov), or a
///     u = u / |u|, then `iterations` times u = 3.4445 u - 4.775 (u u') u + 2.0315 (u u')^2 u
///     w -= lr (scale u + weight_decay w)
///
/// which brings all singular values of u near 1:
///  - pytorch: as written, which is the authors' own;
///  - optax: both terms of Nesterov's u corrected for their bias, the first divided by
///    1 - momentum^t, the second by 1 - momentum^(t+1), t counted for each variable (its learning
///    rate has no default).
/// Only variables with two axes whose name matches `matrices` (`matches`, in rein/base/text.h) are
/// treated so, the rest by the rule `others`: biases and, as the authors advise, embeddings and the
/// output layer. A pattern that no variable matches throws InvalidArgument. `column_blocks` is the
/// number of matrices that stand side by side in one variable and are made orthogonal each on its
/// own: 4 for the weights of an LSTM, 3 of a GRU. Products are taken in the type of the variables.
/// Sparse: as the dense gradient.
struct Muon {
  static constexpr std::string_view name = "Muon";
  Schedule learning_rate = 0.02;
  double momentum = 0.95;
  bool use_nesterov = true;
  double weight_decay = 0;
  int64_t iterations = 5;
  MuonScale scale = MuonScale::original;
  RuleForm form = RuleForm::pytorch;
  int64_t column_blocks = 1;
  std::string matrices = "*";
  AnyRule others = AdamW{};

  struct State {
    StepCount count;
    double rate = 0;
    std::vector<Shape> shapes;  // of the matrices; of other variables {}
    Buffer scratch;
    Slot velocity;              // "momentum", of the matrices
    std::vector<size_t> shift;  // per variable: of its place in the slots of `others`
    AnyRule::State others;
    template <class Self, class F>
    static void fields(Self& self, F&& f) {
      f("count", self.count);
      f("velocity", self.velocity);
      f("others", self.others);
    }
  };
  SparseUpdate sparse_update(State& state, size_t variable) const;
  bool whole_variable(State& state, size_t variable) const;
  /// Throws InvalidArgument too if the columns of a matrix cannot be cut into `column_blocks`.
  State init(const Variables& variables) const;
  void prepare(State& state, const Gradients& gradients) const;
  void begin(State& state, const Gradients& gradients) const;
  void before(State& state, const Variables& variables) const;
  template <class T>
  void delta(std::span<T> d, State& state, BlockPlace place) const;
  Tensor average(State& state, const Variable& variable) const;

  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("learning_rate", self.learning_rate);
    f("momentum", self.momentum);
    f("use_nesterov", self.use_nesterov);
    f("weight_decay", self.weight_decay);
    f("iterations", self.iterations);
    f("scale", self.scale);
    f("form", self.form);
    f("column_blocks", self.column_blocks);
    f("matrices", self.matrices);
    f("others", self.others);
  }
};

}  // namespace rein
