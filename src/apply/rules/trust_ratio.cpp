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

template <class T>
void Lamb::delta(std::span<T> d, State& state, BlockPlace place) const {
  const T* const w = place.weights<T>();
  T* const m = block_of<T>(state.m, place);
  T* const v = block_of<T>(state.v, place);
  const double t = step_number(state.count, form, place.variable);
  const kernels::AdamNumbers u{.beta1 = beta1,
                               .beta2 = beta2,
                               .new1 = 1 - beta1,
                               .new2 = 1 - beta2,
                               .rate = -1 / (1 - std::pow(beta1, t)),
                               .root_factor = 1 / std::sqrt(1 - std::pow(beta2, t)),
                               .epsilon = epsilon};
  const double inside = form == RuleForm::optax ? weight_decay : 0;
  const double outside = form == RuleForm::keras ? state.rate * weight_decay : 0;

  const auto [w_square, u_square] =
      sum_tiles<2>(place.team, d.size(), state.parts, [&](size_t begin, size_t end) {
        std::array<double, 2> sums{};
        for_blocks<T>(begin, end, {d.data(), w, m, v}, [&](size_t from, size_t to) {
          const size_t n = to - from;
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
    kernels::combine(-state.rate * ratio, &d[begin], -outside, w + begin, &d[begin], end - begin);
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
  state.parts = parts_for<2>(variables);
  state.velocity = Slot("momentum", variables);
  return state;
}

void Lars::begin(State& state, const Gradients& gradients) const { state.count.advance(gradients); }

template <class T>
void Lars::delta(std::span<T> d, State& state, BlockPlace place) const {
  const T* const w = place.weights<T>();
  T* const a = block_of<T>(state.velocity, place);
  const bool of_tensorflow = form == RuleForm::tensorflow;
  const auto [w_square, square] =
      sum_tiles<2>(place.team, d.size(), state.parts, [&](size_t begin, size_t end) {
        std::array<double, 2> sums{};
        for_blocks<T>(begin, end, {d.data(), w}, [&](size_t from, size_t to) {
          const size_t n = to - from;
          sums[0] += kernels::sum_of_squares(w + from, n);
          if (of_tensorflow) sums[1] += kernels::sum_of_squares(&d[from], n);
          if (weight_decay != 0) kernels::combine(1, &d[from], weight_decay, w + from, &d[from], n);
          if (!of_tensorflow) sums[1] += kernels::sum_of_squares(&d[from], n);
        });
        return sums;
      });
  const double w_norm = std::sqrt(w_square), looked_at = std::sqrt(square);
  const double below = looked_at + (of_tensorflow ? weight_decay * w_norm : 0) + epsilon;
  const double ratio = w_norm > 0 && looked_at > 0 ? trust_coefficient * w_norm / below : 1;
  const double rate = -state.rate * ratio;
  const double enters = of_tensorflow ? 1 : rate, leaves = of_tensorflow ? rate : 1;
  for_tiles(place.team, d.size(), [&](size_t begin, size_t end) {
    for_blocks<T>(begin, end, {a}, [&](size_t from, size_t to) {
      const size_t n = to - from;
      kernels::combine(momentum, a + from, enters, &d[from], a + from, n);
      const double of_d = use_nesterov ? leaves * enters : 0;
      kernels::combine(of_d, &d[from], use_nesterov ? leaves * momentum : leaves, a + from,
                       &d[from], n);
    });
  });
}
template void Lars::delta(std::span<float>, State&, BlockPlace) const;
template void Lars::delta(std::span<double>, State&, BlockPlace) const;

}  // namespace rein
