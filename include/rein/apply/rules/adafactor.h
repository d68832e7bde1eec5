// Adafactor: a mean square for each row and each column instead of each element.
#pragma once

#include "rein/apply/rules/settings.h"

namespace rein {

/// Shazeer, Stern: "Adafactor", 2018. With t the number of the step, b = 1 - t^beta2_decay, means
/// of squares R of rows and C of columns (of the last two axes; of elements, V, where the variable
/// has less than two axes or one of the two is shorter than `min_factored`), and RMS(x) the root
/// mean square of x:
///
///     R = b R + (1 - b) mean of (g^2 + epsilon1) over a row, C likewise, V = R C / mean(R)
///     u = g / sqrt(V), u = u / max(1, RMS(u) / clip_threshold)
///     rho = min(lr, 1 / sqrt(t)), or lr unless `relative_step`
///     w -= rho max(epsilon2, RMS(w)) u, without the maximum unless `scale_by_weights`
///
///  - keras: as written, t the number of steps (its relative_step changes nothing: the minimum is
///    taken either way). With min_factored 128 and relative_step false this is optax.adafactor,
///    whose weight decay is not multiplied by the learning rate, though, and whose rows and columns
///    are the two longest axes where there are more than two;
///  - pytorch: t counted for each variable; epsilon1 is not added, but V is at least epsilon1^2 and
///    mean(R) at least epsilon1 (whose default there is the distance from 1 to the next number).
/// Weight decay is decoupled: w -= lr weight_decay w. Sparse: as the dense gradient.
struct Adafactor {
  static constexpr std::string_view name = "Adafactor";
  static constexpr bool whole_variable = true;
  Schedule learning_rate = 1e-3;
  double beta2_decay = -0.8;
  double epsilon1 = 1e-30, epsilon2 = 1e-3;
  double clip_threshold = 1;
  bool relative_step = true;
  bool scale_by_weights = true;
  int64_t min_factored = 1;
  double weight_decay = 0;
  RuleForm form = RuleForm::keras;

  struct State {
    /// Of a variable: `batch` matrices, or none where elements have a mean of their own.
    struct Factors {
      size_t batch = 0, rows = 0, columns = 0;
      size_t block_rows = 0, blocks = 0;            // of a matrix, for threads
      std::vector<double> row_means, column_means;  // R, C
      std::vector<double> halves;                   // mean(R)^(1/4)
      std::vector<double> row_factors;              // mean(R)^(1/4) / sqrt(R)
      Buffer column_factors;                        // the same of C, in the type of the variables
      template <class Self, class F>
      static void fields(Self& self, F&& f) {
        f("row_means", self.row_means);
        f("column_means", self.column_means);
      }
    };
    StepCount count;
    double rate = 0;
    std::vector<double> parts, column_sums;  // of squares, by tiles or blocks of rows
    std::vector<Factors> factors;
    Slot v;  // V of the variables without factors
    template <class Self, class F>
    static void fields(Self& self, F&& f) {
      f("count", self.count);
      f("factors", self.factors);
      f("v", self.v);
    }
  };
  SparseUpdate sparse_update() const { return SparseUpdate::dense; }
  State init(const Variables& variables) const;
  void begin(State& state, const Gradients& gradients) const;
  template <class T>
  void delta(std::span<T> d, State& state, BlockPlace place) const;
  template <class T>
  bool update(std::span<T> gradient, double scale, T* parameters, State& state,
              BlockPlace place) const;

  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("learning_rate", self.learning_rate);
    f("beta2_decay", self.beta2_decay);
    f("epsilon1", self.epsilon1);
    f("epsilon2", self.epsilon2);
    f("clip_threshold", self.clip_threshold);
    f("relative_step", self.relative_step);
    f("scale_by_weights", self.scale_by_weights);
    f("min_factored", self.min_factored);
    f("weight_decay", self.weight_decay);
    f("form", self.form);
  }
};

}  // namespace rein
