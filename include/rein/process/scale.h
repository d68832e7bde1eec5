// Scaling, normalising, noise, and gradients that are not numbers.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "rein/process/norms.h"
#include "rein/process/threshold.h"
#include "rein/process/transform.h"

namespace rein {

/// Every gradient times a factor, which may follow the step. No pass over memory.
struct Scale {
  static constexpr std::string_view name = "Scale";
  Schedule factor = 1.0;

  struct State {
    template <class Self, class F>
    static void fields(Self&, F&&) {}
  };
  State init(const Variables&) const { return {}; }
  void update(Gradients& gradients, State& state, const Variables& variables, StepInfo& info) const;
  bool may_refuse() const { return false; }

  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("factor", self.factor);
  }
};

/// Variables whose name matches a pattern (rein/process/groups.h), and what their gradients are
/// multiplied by.
struct Multiplier {
  std::string pattern;
  Schedule factor = 1.0;

  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("pattern", self.pattern);
    f("factor", self.factor);
  }
};

/// The gradient of each variable times the factor of the first pattern that its name matches; the
/// others stay (gradient_multipliers of TensorFlow 1's optimize_loss, CNTK's
/// learningRateMultipliers). A pattern that no variable matches throws InvalidArgument.
///
///     Multiply{.multipliers = {{"embedding*", 0.1}, {"*/bias", 2.0}}}
struct Multiply {
  static constexpr std::string_view name = "Multiply";
  std::vector<Multiplier> multipliers{};

  struct State {
    std::vector<size_t> which;  // of each variable; their number: none
    std::vector<double> factors;
    template <class Self, class F>
    static void fields(Self&, F&&) {}
  };
  State init(const Variables& variables) const;
  void update(Gradients& gradients, State& state, const Variables& variables, StepInfo& info) const;
  bool may_refuse() const { return false; }

  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("multipliers", self.multipliers);
  }
};

/// g * norm / (|g| + epsilon), |g| the global norm (optax.normalize_by_update_norm, whose epsilon
/// is 1e-6), or that of each variable by itself: the direction stays, the length is always the
/// same. A gradient that is 0, or whose norm or factor is not finite, is left alone. `norm` is
/// finite, else InvalidArgument. It measures: see ClipByGlobalNorm.
struct Normalize {
  static constexpr std::string_view name = "Normalize";
  Threshold norm = 1;
  double epsilon = 0;
  bool per_variable = false;
  std::optional<Shards> shards{};  // of variables that are spread over ranks

  using State = Norms;
  State init(const Variables& variables) const;
  void update(Gradients& gradients, State& state, const Variables& variables, StepInfo& info) const;
  bool may_refuse() const { return false; }

  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("norm", self.norm);
    f("epsilon", self.epsilon);
    f("per_variable", self.per_variable);
    f("shards", self.shards);
  }
};

/// Adds to every number one from a normal distribution of mean 0 and variance
/// eta / (1 + step)^gamma (Neelakantan and others 2015, arXiv 1511.06807; optax.add_noise). With
/// gamma 0 it does not decay. The numbers are a function of seed, variable, element and step alone.
/// Sparse gradients get noise in the rows that they have, once in each: duplicates are added up.
struct AddNoise {
  static constexpr std::string_view name = "AddNoise";
  double eta = 0.01;
  double gamma = 0.55;
  int64_t seed = 0;

  struct State {
    int64_t step = 0;
    std::vector<uint64_t> streams;  // of variables
    template <class Self, class F>
    static void fields(Self& self, F&& f) {
      f("step", self.step);
    }
  };
  State init(const Variables& variables) const;
  void update(Gradients& gradients, State& state, const Variables& variables, StepInfo& info) const;
  void remember(State& state) const;
  bool may_refuse() const { return false; }

  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("eta", self.eta);
    f("gamma", self.gamma);
    f("seed", self.seed);
  }
};

struct ZeroedNans {
  std::vector<Gradient> gradients;  // in the order given
  std::vector<char> found;          // whether a NaN was in it
};
/// Every NaN becomes 0; infinities stay (optax.zero_nans).
ZeroedNans zero_nans(std::span<const Gradient> gradients);

/// As zero_nans. What was found is in the state; StepInfo names the first variable, and that the
/// gradient was not finite.
struct ZeroNans {
  static constexpr std::string_view name = "ZeroNans";

  struct State {
    std::vector<char> found;  // of variables, in the last step
    template <class Self, class F>
    static void fields(Self&, F&&) {}
  };
  State init(const Variables& variables) const;
  void update(Gradients& gradients, State& state, const Variables& variables, StepInfo& info) const;
  bool may_refuse() const { return false; }

  template <class Self, class F>
  static void fields(Self&, F&&) {}
};

}  // namespace rein
