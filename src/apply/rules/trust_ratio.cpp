#include "rein/apply/rules/trust_ratio.h"

#include "apply/rules/common.h"
#include "apply/rules/tiles.h"
#include "rein/kernels/norm.h"

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

void Lamb::begin(State& state, const Gradients& gradients) const { state.count.advance(gradients); }

namespace {

template <class T>
void step(const Lamb& rule, std::span<T> d, double scale, DeltaSink<T> sink, Lamb::State& state,
          BlockPlace place) {
  const T* const w = place.weights<T>();
  T* const m = block_of<T>(state.m, place);
  T* const v = block_of<T>(state.v, place);
  const double t = step_number(state.count, rule.form, place.variable);
  const kernels::AdamNumbers u{.beta1 = rule.beta1,
                               .beta2 = rule.beta2,
                               .new1 = 1 - rule.beta1,
                               .new2 = 1 - rule.beta2,
                               .rate = -1 / (1 - std::pow(rule.beta1, t)),
                               .root_factor = 1 / std::sqrt(1 - std::pow(rule.beta2, t)),
                               .epsilon = rule.epsilon};
  const double inside = rule.form == RuleForm::optax ? rule.weight_decay : 0;
  const double outside = rule.form == RuleForm::keras ? state.rate * rule.weight_decay : 0;

  const auto [w_square, u_square] =
      sum_tiles<2>(place.team, d.size(), state.parts, [&](size_t begin, size_t end) {
        std::array<double, 2> sums{};
        for_blocks<T>(begin, end, {d.data(), w, m, v}, [&](size_t from, size_t to) {
          const size_t n = to - from;
          if (scale != 1) kernels::scale_into(&d[from], scale, &d[from], n);
          kernels::adam(&d[from], m + from, v + from, u, n);
          if (inside != 0) kernels::combine(1, &d[from], inside, w + from, &d[from], n);
          sums[0] += kernels::sum_of_squares(w + from, n);
          sums[1] += kernels::sum_of_squares(&d[from], n);
        });
        return sums;
      });
  const double w_norm = std::abs(1 - outside) * std::sqrt(w_square), u_norm = std::sqrt(u_square);
  const double ratio = w_norm > 0 && u_norm > 0 ? w_norm / u_norm : 1;
  for_tiles(place.team, d.size(), [&](size_t begin, size_t end) {
    for_blocks<T>(begin, end, {d.data(), w}, [&](size_t from, size_t to) {
      sink.put(from, to, [&](T* out) {
        kernels::combine(-state.rate * ratio, &d[from], -outside, w + from, out, to - from);
      });
    });
  });
}

}  // namespace

template <class T>
void Lamb::delta(std::span<T> d, State& state, BlockPlace place) const {
  step(*this, d, 1, {d.data(), nullptr}, state, place);
}
template <class T>
bool Lamb::update(std::span<T> gradient, double scale, T* parameters, State& state,
                  BlockPlace place) const {
  step(*this, gradient, scale, {gradient.data(), parameters}, state, place);
  return true;
}
template void Lamb::delta(std::span<float>, State&, BlockPlace) const;
template void Lamb::delta(std::span<double>, State&, BlockPlace) const;
template bool Lamb::update(std::span<float>, double, float*, State&, BlockPlace) const;
template bool Lamb::update(std::span<double>, double, double*, State&, BlockPlace) const;

// ---------------------------------------------------------------- LARS

Lars::State Lars::init(const Variables& variables) const {
  check_settings(*this);
  check_form(name, form, {RuleForm::tensorflow, RuleForm::optax});
  check_from_zero(name, "trust_coefficient", trust_coefficient);
  State state;
  state.count.start(variables);
  state.parts = parts_for<2>(variables);
  state.velocity = Slot("momentum", variables);
  return state;
}

void Lars::begin(State& state, const Gradients& gradients) const { state.count.advance(gradients); }

namespace {

template <class T>
void step(const Lars& rule, std::span<T> d, double scale, DeltaSink<T> sink, Lars::State& state,
          BlockPlace place) {
  const T* const w = place.weights<T>();
  T* const a = block_of<T>(state.velocity, place);
  const bool of_tensorflow = rule.form == RuleForm::tensorflow;
  const double decay = rule.weight_decay;
  const auto [w_square, square] =
      sum_tiles<2>(place.team, d.size(), state.parts, [&](size_t begin, size_t end) {
        std::array<double, 2> sums{};
        for_blocks<T>(begin, end, {d.data(), w}, [&](size_t from, size_t to) {
          const size_t n = to - from;
          if (scale != 1) kernels::scale_into(&d[from], scale, &d[from], n);
          sums[0] += kernels::sum_of_squares(w + from, n);
          if (of_tensorflow) sums[1] += kernels::sum_of_squares(&d[from], n);
          if (decay != 0) kernels::combine(1, &d[from], decay, w + from, &d[from], n);
          if (!of_tensorflow) sums[1] += kernels::sum_of_squares(&d[from], n);
        });
        return sums;
      });
  const double w_norm = std::sqrt(w_square), looked_at = std::sqrt(square);
  const double below = looked_at + (of_tensorflow ? decay * w_norm : 0) + rule.epsilon;
  const double ratio = w_norm > 0 && looked_at > 0 ? rule.trust_coefficient * w_norm / below : 1;
  const double rate = -state.rate * ratio;
  const double enters = of_tensorflow ? 1 : rate, leaves = of_tensorflow ? rate : 1;
  const double of_d = rule.use_nesterov ? leaves * enters : 0;
  const double of_a = rule.use_nesterov ? leaves * rule.momentum : leaves;
  for_tiles(place.team, d.size(), [&](size_t begin, size_t end) {
    for_blocks<T>(begin, end, {d.data(), w, a}, [&](size_t from, size_t to) {
      const size_t n = to - from;
      kernels::combine(rule.momentum, a + from, enters, &d[from], a + from, n);
      sink.put(from, to, [&](T* out) { kernels::combine(of_d, &d[from], of_a, a + from, out, n); });
    });
  });
}

}  // namespace

template <class T>
void Lars::delta(std::span<T> d, State& state, BlockPlace place) const {
  step(*this, d, 1, {d.data(), nullptr}, state, place);
}
template <class T>
bool Lars::update(std::span<T> gradient, double scale, T* parameters, State& state,
                  BlockPlace place) const {
  step(*this, gradient, scale, {gradient.data(), parameters}, state, place);
  return true;
}
template void Lars::delta(std::span<float>, State&, BlockPlace) const;
template void Lars::delta(std::span<double>, State&, BlockPlace) const;
template bool Lars::update(std::span<float>, double, float*, State&, BlockPlace) const;
template bool Lars::update(std::span<double>, double, double*, State&, BlockPlace) const;

}  // namespace rein
