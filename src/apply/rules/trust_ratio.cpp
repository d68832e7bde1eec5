#include "rein/apply/rules/trust_ratio.h"

#include "apply/rules/common.h"
#include "apply/rules/tiles.h"

namespace rein {

static_assert(Rule<Lamb> && Rule<Lars>);

// ---------------------------------------------------------------- LAMB

Lamb::State Lamb::init(const Variables& variables) const {
  check_settings(*this);
  check_form(name, form, {RuleForm::keras, RuleForm::optax});
  State state;
  state.count.start(variables);
  state.parts = parts_for<2>(variables);
  state.m = Slot("m", variables);
  state.v = Slot("v", variables);
  return state;
}

void Lamb::begin(State& state, const Gradients& gradients) const {
  state.rate = next_rate(*this, state);
  state.count.advance(gradients);
}

template <class T>
void Lamb::delta(std::span<T> d, State& state, BlockPlace place) const {
  const T* const w = place.weights<T>();
  T* const m = state.m.data<T>() + place.offset;
  T* const v = state.v.data<T>() + place.offset;
  const double t = step_number(state.count, form, place.variable);
  const T b1 = static_cast<T>(beta1), b2 = static_cast<T>(beta2);
  const T new1 = static_cast<T>(1 - beta1), new2 = static_cast<T>(1 - beta2);
  const T of_m = static_cast<T>(1 / (1 - std::pow(beta1, t)));
  const T factor = static_cast<T>(1 / std::sqrt(1 - std::pow(beta2, t)));
  const T eps = static_cast<T>(epsilon);
  const T inside = static_cast<T>(form == RuleForm::optax ? weight_decay : 0);
  const double outside = form == RuleForm::keras ? state.rate * weight_decay : 0;

  const auto [w_square, u_square] =
      sum_tiles<2>(place.team, d.size(), state.parts, [&](size_t begin, size_t end) {
        std::array<double, 2> sums{};
        for (size_t i = begin; i < end; ++i) {
          m[i] = b1 * m[i] + new1 * d[i];
          v[i] = b2 * v[i] + new2 * (d[i] * d[i]);
          d[i] = of_m * m[i] / (std::sqrt(v[i]) * factor + eps) + inside * w[i];
          sums[0] += square(w[i]);
          sums[1] += square(d[i]);
        }
        return sums;
      });
  const double w_norm = std::abs(1 - outside) * std::sqrt(w_square), u_norm = std::sqrt(u_square);
  const double ratio = w_norm > 0 && u_norm > 0 ? w_norm / u_norm : 1;
  const T step = static_cast<T>(-state.rate * ratio), pull = static_cast<T>(-outside);
  for_tiles(place.team, d.size(), [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) d[i] = step * d[i] + pull * w[i];
  });
}
template void Lamb::delta(std::span<float>, State&, BlockPlace) const;
template void Lamb::delta(std::span<double>, State&, BlockPlace) const;

// ---------------------------------------------------------------- LARS

Lars::State Lars::init(const Variables& variables) const {
  check_settings(*this);
  check_form(name, form, {RuleForm::tensorflow, RuleForm::optax});
  check_from_zero(name, "trust_coefficient", trust_coefficient);
  State state;
  state.count.start(variables);
  state.parts = parts_for<3>(variables);
  state.velocity = Slot("momentum", variables);
  return state;
}

void Lars::begin(State& state, const Gradients& gradients) const {
  state.rate = next_rate(*this, state);
  state.count.advance(gradients);
}

template <class T>
void Lars::delta(std::span<T> d, State& state, BlockPlace place) const {
  const T* const w = place.weights<T>();
  T* const a = state.velocity.data<T>() + place.offset;
  const T decay = static_cast<T>(weight_decay), mu = static_cast<T>(momentum);
  const auto [w_square, g_square, r_square] =
      sum_tiles<3>(place.team, d.size(), state.parts, [&](size_t begin, size_t end) {
        std::array<double, 3> sums{};
        for (size_t i = begin; i < end; ++i) {
          sums[0] += square(w[i]);
          sums[1] += square(d[i]);
          d[i] += decay * w[i];
          sums[2] += square(d[i]);
        }
        return sums;
      });
  const double w_norm = std::sqrt(w_square);
  const bool of_tensorflow = form == RuleForm::tensorflow;
  const double looked_at = std::sqrt(of_tensorflow ? g_square : r_square);
  const double below = looked_at + (of_tensorflow ? weight_decay * w_norm : 0) + epsilon;
  const double ratio = w_norm > 0 && looked_at > 0 ? trust_coefficient * w_norm / below : 1;
  const double rate = -state.rate * ratio;
  const T enters = static_cast<T>(of_tensorflow ? 1 : rate);
  const T leaves = static_cast<T>(of_tensorflow ? rate : 1);
  for_tiles(place.team, d.size(), [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
      const T r = enters * d[i];
      a[i] = mu * a[i] + r;
      d[i] = leaves * (use_nesterov ? r + mu * a[i] : a[i]);
    }
  });
}
template void Lars::delta(std::span<float>, State&, BlockPlace) const;
template void Lars::delta(std::span<double>, State&, BlockPlace) const;

}  // namespace rein
