// Schedules that fall.
#pragma once

#include <string_view>
#include <vector>

#include "rein/base/schedule.h"

namespace rein {

/// initial decay_rate^(t / decay_steps), with `staircase` floor(t / decay_steps)
/// (tf.train.exponential_decay, keras ExponentialDecay). `decay_steps` 1 is PyTorch's
/// ExponentialLR, `staircase` its StepLR.
struct ExponentialDecay {
  static constexpr std::string_view name = "ExponentialDecay";
  double initial = 0.01;
  double decay_steps = 1;
  double decay_rate = 0.96;
  bool staircase = false;

  double at(int64_t t) const;
  void check(Where where) const;
  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("initial", self.initial);
    f("decay_steps", self.decay_steps);
    f("decay_rate", self.decay_rate);
    f("staircase", self.staircase);
  }
};

/// initial exp(-decay_rate t / decay_steps), with `staircase` floor(t / decay_steps)
/// (tf.train.natural_exp_decay).
struct NaturalExpDecay {
  static constexpr std::string_view name = "NaturalExpDecay";
  double initial = 0.01;
  double decay_steps = 1;
  double decay_rate = 0.04;
  bool staircase = false;

  double at(int64_t t) const;
  void check(Where where) const;
  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("initial", self.initial);
    f("decay_steps", self.decay_steps);
    f("decay_rate", self.decay_rate);
    f("staircase", self.staircase);
  }
};

/// initial / (1 + decay_rate t / decay_steps), with `staircase` floor(t / decay_steps)
/// (tf.train.inverse_time_decay, keras InverseTimeDecay).
struct InverseTimeDecay {
  static constexpr std::string_view name = "InverseTimeDecay";
  double initial = 0.01;
  double decay_steps = 1;
  double decay_rate = 0.5;
  bool staircase = false;

  double at(int64_t t) const;
  void check(Where where) const;
  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("initial", self.initial);
    f("decay_steps", self.decay_steps);
    f("decay_rate", self.decay_rate);
    f("staircase", self.staircase);
  }
};

/// (initial - end) (1 - min(t, decay_steps) / decay_steps)^power + end. With `cycle` the steps
/// are not cut off: decay_steps is multiplied by ceil(t / decay_steps) instead
/// (tf.train.polynomial_decay, keras PolynomialDecay). End 0 is PyTorch's PolynomialLR, power 1
/// from lr start_factor to lr end_factor its LinearLR.
struct PolynomialDecay {
  static constexpr std::string_view name = "PolynomialDecay";
  double initial = 0.01;
  double decay_steps = 1;
  double end = 1e-4;
  double power = 1;
  bool cycle = false;

  double at(int64_t t) const;
  void check(Where where) const;
  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("initial", self.initial);
    f("decay_steps", self.decay_steps);
    f("end", self.end);
    f("power", self.power);
    f("cycle", self.cycle);
  }
};

/// values[k], k the number of boundaries that are less than t: a step that equals a boundary still
/// has the earlier value (tf.train.piecewise_constant, keras PiecewiseConstantDecay). Boundaries
/// rise; there is one value more.
struct PiecewiseConstant {
  static constexpr std::string_view name = "PiecewiseConstant";
  std::vector<int64_t> boundaries{};
  std::vector<double> values{0.01};

  double at(int64_t t) const;
  void check(Where where) const;
  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("boundaries", self.boundaries);
    f("values", self.values);
  }
};

/// initial factor^k, k the number of milestones up to t: a step that equals a milestone has the new
/// value already (PyTorch's MultiStepLR). A milestone may be there twice.
struct MultiStepDecay {
  static constexpr std::string_view name = "MultiStepDecay";
  double initial = 0.01;
  std::vector<int64_t> milestones{};  // in rising order
  double factor = 0.1;

  double at(int64_t t) const;
  void check(Where where) const;
  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("initial", self.initial);
    f("milestones", self.milestones);
    f("factor", self.factor);
  }
};

/// initial ((1 - alpha) (1 + cos(pi min(t, decay_steps) / decay_steps)) / 2 + alpha)
/// (tf.train.cosine_decay, keras CosineDecay; Loshchilov, Hutter: "SGDR", 2017). With `periodic`
/// the cosine goes on past decay_steps: it rises again and falls again (PyTorch's
/// CosineAnnealingLR, alpha = eta_min / lr). Keras' warmup_target and warmup_steps are a Warmup in
/// front.
struct CosineDecay {
  static constexpr std::string_view name = "CosineDecay";
  double initial = 0.01;
  double decay_steps = 1;
  double alpha = 0;
  bool periodic = false;

  double at(int64_t t) const;
  void check(Where where) const;
  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("initial", self.initial);
    f("decay_steps", self.decay_steps);
    f("alpha", self.alpha);
    f("periodic", self.periodic);
  }
};

/// initial ((alpha + l + noise) c + beta), l = 1 - t / decay_steps, c = (1 + cos(2 pi num_periods
/// t / decay_steps)) / 2, t at most decay_steps (tf.train.linear_cosine_decay; Bello et al.:
/// "Neural optimizer search", 2017). noise is normal with variance initial_variance / (1 +
/// t)^variance_decay (tf.train.noisy_linear_cosine_decay, whose defaults are 1 and 0.55), a
/// function of seed and t.
struct LinearCosineDecay {
  static constexpr std::string_view name = "LinearCosineDecay";
  double initial = 0.01;
  double decay_steps = 1;
  double num_periods = 0.5;
  double alpha = 0;
  double beta = 0.001;
  double initial_variance = 0;
  double variance_decay = 0.55;
  int64_t seed = 0;

  double at(int64_t t) const;
  void check(Where where) const;
  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("initial", self.initial);
    f("decay_steps", self.decay_steps);
    f("num_periods", self.num_periods);
    f("alpha", self.alpha);
    f("beta", self.beta);
    f("initial_variance", self.initial_variance);
    f("variance_decay", self.variance_decay);
    f("seed", self.seed);
  }
};

}  // namespace rein
