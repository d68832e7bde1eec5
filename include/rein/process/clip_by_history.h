// Clips whose limit comes from the norms of earlier steps.
#pragma once

#include <limits>
#include <optional>
#include <vector>

#include "rein/process/norms.h"
#include "rein/process/transform.h"
#include "rein/tensor/slot.h"

namespace rein {

// All of them measure, and those by the global norm leave the factor in `gradients.scale`: see
// ClipByGlobalNorm. Nothing is clipped by a norm that is not finite, and neither that norm nor a
// step that is skipped is remembered. `shards` are of variables that are spread over ranks.

/// By the global norm, to the percentile of the norms so far, this one included (AutoClip:
/// Seetharaman, Wichern, Pardo, Le Roux 2020, arXiv 2007.14469, which keeps all norms; here the
/// last `window`). Between two norms the percentile is interpolated, as numpy does.
struct AutoClip {
  static constexpr std::string_view name = "AutoClip";
  double percentile = 10;
  int64_t window = 1000;
  std::optional<Shards> shards{};

  struct State {
    GrowingList recent;  // at most `window` norms before clipping
    int64_t next = 0;    // where the next is written
    double coming = 0;   // the norm that is to be written
    std::vector<double> sorted;
    Norms norms;
    template <class Self, class F>
    static void fields(Self& self, F&& f) {
      f("recent", self.recent);
      f("next", self.next);
    }
  };
  State init(const Variables& variables) const;
  void update(Gradients& gradients, State& state, const Variables& variables, StepInfo& info) const;
  void remember(State& state) const;
  bool may_refuse() const { return false; }

  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("percentile", self.percentile);
    f("window", self.window);
    f("shards", self.shards);
  }
};

/// What ZClip shortens an outlier to: z = (norm - mean) / (deviation + epsilon) above z_threshold.
enum class ZClipForm : uint8_t {
  adaptive,  // mean + deviation z_threshold^2 / z: the farther out, the shorter
  mean,      // mean
  fixed      // whatever is above mean + z_threshold deviation to that (their mode "percentile")
};
std::string_view to_string(ZClipForm form);

/// By the global norm, where it is an outlier among moving averages of its mean and variance
/// (ZClip: Kumar and others 2025, arXiv 2504.02507, and the authors' code). The first `warmup`
/// norms only give the first mean and variance; then mean = alpha mean + (1 - alpha) n and var =
/// alpha var + (1 - alpha) (n - mean)^2 with the new mean, n the norm that ZClip left. max_norm is
/// a limit on top, also while warming up (theirs is 1).
struct ZClip {
  static constexpr std::string_view name = "ZClip";
  double alpha = 0.97;
  double z_threshold = 2.5;
  double max_norm = std::numeric_limits<double>::infinity();
  int64_t warmup = 25;
  double epsilon = 1e-6;
  ZClipForm form = ZClipForm::adaptive;
  std::optional<Shards> shards{};

  struct History {
    int64_t seen = 0;
    double mean = 0, variance = 0;  // while warming up: the sum of squares
    template <class Self, class F>
    static void fields(Self& self, F&& f) {
      f("seen", self.seen);
      f("mean", self.mean);
      f("variance", self.variance);
    }
  };
  struct State {
    History history, coming;
    Norms norms;
    template <class Self, class F>
    static void fields(Self& self, F&& f) {
      f("", self.history);
    }
  };
  State init(const Variables& variables) const;
  void update(Gradients& gradients, State& state, const Variables& variables, StepInfo& info) const;
  void remember(State& state) const;
  bool may_refuse() const { return false; }

  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("alpha", self.alpha);
    f("z_threshold", self.z_threshold);
    f("max_norm", self.max_norm);
    f("warmup", self.warmup);
    f("epsilon", self.epsilon);
    f("form", self.form);
    f("shards", self.shards);
  }
};

/// By the global norm: to exp(mean) where it is exp(mean + std_factor deviation) or more, mean and
/// deviation being moving averages of log(norm + epsilon) that include this step's (Chorowski and
/// others 2014, arXiv 1412.1602, section 3.2.1; tf.contrib.layers.adaptive_clipping_fn).
/// variance = max(epsilon, mean of squares - mean^2).
struct AdaptiveClipping {
  static constexpr std::string_view name = "AdaptiveClipping";
  double std_factor = 2;
  double decay = 0.95;
  double static_max_norm = std::numeric_limits<double>::infinity();  // a limit on top
  /// decay = min(decay, t / (t + 1)), t the number of steps before: averages that begin quickly, as
  /// in TensorFlow with a global_step; else they begin at 0.
  bool quick_start = true;
  double epsilon = 1e-8;
  std::optional<Shards> shards{};

  struct History {
    int64_t seen = 0;
    double mean = 0, square = 0;
    template <class Self, class F>
    static void fields(Self& self, F&& f) {
      f("seen", self.seen);
      f("mean", self.mean);
      f("square", self.square);
    }
  };
  struct State {
    History history, coming;
    Norms norms;
    template <class Self, class F>
    static void fields(Self& self, F&& f) {
      f("", self.history);
    }
  };
  State init(const Variables& variables) const;
  void update(Gradients& gradients, State& state, const Variables& variables, StepInfo& info) const;
  void remember(State& state) const;
  bool may_refuse() const { return false; }

  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("std_factor", self.std_factor);
    f("decay", self.decay);
    f("static_max_norm", self.static_max_norm);
    f("quick_start", self.quick_start);
    f("epsilon", self.epsilon);
    f("shards", self.shards);
  }
};

/// Each variable to lambda_rel times the moving average gamma of its norm after clipping:
/// gamma = beta gamma + (1 - beta) |g|. In the steps before `warmup` all of them together to
/// lambda_abs instead, and gamma = min(gamma, |g|) (AdaGC: Wang and others 2025, arXiv 2502.11034).
/// A norm of 0 is not remembered: gamma would be 0 for ever.
struct AdaGC {
  static constexpr std::string_view name = "AdaGC";
  double lambda_rel = 1.05;
  double lambda_abs = 1;
  double beta = 0.98;
  int64_t warmup = 100;
  std::optional<Shards> shards{};

  struct State {
    int64_t step = 0;
    std::vector<double> gamma;  // of variables; below 0: not met yet
    Norms norms;
    template <class Self, class F>
    static void fields(Self& self, F&& f) {
      f("step", self.step);
      f("gamma", self.gamma);
    }
  };
  State init(const Variables& variables) const;
  void update(Gradients& gradients, State& state, const Variables& variables, StepInfo& info) const;
  void remember(State& state) const;
  bool may_refuse() const { return false; }

  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("lambda_rel", self.lambda_rel);
    f("lambda_abs", self.lambda_abs);
    f("beta", self.beta);
    f("warmup", self.warmup);
    f("shards", self.shards);
  }
};

/// Spikes of single numbers: where g^2 > theta v, g = sign(g) sqrt(theta v); v = beta2 v +
/// (1 - beta2) g^2, from 0, of what is left (SPAM: Huang and others 2025, arXiv 2501.06842, which
/// takes Adam's v; its resets of the momentum are the rule's affair). Where v is 0 nothing is
/// clipped. Each number for itself: an infinite one is a spike, NaN stays, and v does not remember
/// what is not finite after the clip. It remembers sqrt(v), so that nothing overflows or vanishes,
/// twice: the coming one takes the other's place when the step is applied. Sparse: rows that are
/// there.
struct ClipSpikes {
  static constexpr std::string_view name = "ClipSpikes";
  double theta = 5000;
  double beta2 = 0.999;

  struct State {
    Slot root;  // "spike_root"
    Slot coming;
    struct Piece {
      size_t begin, size;  // bytes
    };
    std::vector<Piece> pieces;  // of `coming`, that the step has written
    bool all = false;           // everything is in them
    Norms before, after;
    template <class Self, class F>
    static void fields(Self& self, F&& f) {
      f("root", self.root);
    }
  };
  State init(const Variables& variables) const;
  void update(Gradients& gradients, State& state, const Variables& variables, StepInfo& info) const;
  void remember(State& state) const;
  bool may_refuse() const { return false; }

  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("theta", self.theta);
    f("beta2", self.beta2);
  }
};

}  // namespace rein
