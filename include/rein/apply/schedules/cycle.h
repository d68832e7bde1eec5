// Schedules that rise, or start again.
#pragma once

#include <string_view>

#include "rein/base/schedule.h"

namespace rein {

/// A straight line from `from` to then(0) during the first `steps` steps, afterwards then(t -
/// steps) (keras CosineDecay's warmup, in front of any schedule).
struct Warmup {
  static constexpr std::string_view name = "Warmup";
  int64_t steps = 0;
  double from = 0;
  Schedule then = 0.01;

  double at(int64_t t) const;
  void check(Where where) const;
  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("steps", self.steps);
    f("from", self.from);
    f("then", self.then);
  }
};

/// CosineDecay that starts again: the first period takes first_decay_steps, each next one t_mul
/// times as many, from a height m_mul times the last (tf.train.cosine_decay_restarts, keras
/// CosineDecayRestarts). m_mul 1 is PyTorch's CosineAnnealingWarmRestarts, alpha = eta_min / lr.
struct CosineRestarts {
  static constexpr std::string_view name = "CosineRestarts";
  double initial = 0.01;
  double first_decay_steps = 1;
  double t_mul = 2;
  double m_mul = 1;
  double alpha = 0;

  double at(int64_t t) const;
  void check(Where where) const;
  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("initial", self.initial);
    f("first_decay_steps", self.first_decay_steps);
    f("t_mul", self.t_mul);
    f("m_mul", self.m_mul);
    f("alpha", self.alpha);
  }
};

/// How a cycle goes from one value to the next: along half a cosine or a straight line.
enum class Anneal : uint8_t { cosine, linear };
std::string_view to_string(Anneal anneal);

/// From max / div_factor up to max during the first rise_fraction of total_steps, then down to
/// initial / final_div_factor; in three phases first down to initial again, as long as the rise.
/// After total_steps it stays there (PyTorch's OneCycleLR; Smith, Topin: "Super-convergence",
/// 2018).
struct OneCycle {
  static constexpr std::string_view name = "OneCycle";
  double max = 0.01;
  int64_t total_steps = 100;
  double rise_fraction = 0.3;
  Anneal anneal = Anneal::cosine;
  double div_factor = 25;
  double final_div_factor = 1e4;
  bool three_phase = false;

  double at(int64_t t) const;
  void check(Where where) const;
  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("max", self.max);
    f("total_steps", self.total_steps);
    f("rise_fraction", self.rise_fraction);
    f("anneal", self.anneal);
    f("div_factor", self.div_factor);
    f("final_div_factor", self.final_div_factor);
    f("three_phase", self.three_phase);
  }
};

/// The momentum that goes with OneCycle (of Momentum, or Adam's beta1): from max down to base while
/// the rate rises, and back to max (cycle_momentum of OneCycleLR).
struct OneCycleMomentum {
  static constexpr std::string_view name = "OneCycleMomentum";
  double base = 0.85, max = 0.95;
  int64_t total_steps = 100;
  double rise_fraction = 0.3;
  Anneal anneal = Anneal::cosine;
  bool three_phase = false;

  double at(int64_t t) const;
  void check(Where where) const;
  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("base", self.base);
    f("max", self.max);
    f("total_steps", self.total_steps);
    f("rise_fraction", self.rise_fraction);
    f("anneal", self.anneal);
    f("three_phase", self.three_phase);
  }
};

}  // namespace rein
