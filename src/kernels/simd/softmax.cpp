#include "kernels/simd/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/simd/softmax.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <limits>

#include "kernels/simd/math-inl.h"
#include "kernels/simd/tail-inl.h"
#include "kernels/softmax_rows.h"

HWY_BEFORE_NAMESPACE();
namespace rein::kernels {
namespace HWY_NAMESPACE {
namespace {

using Floats = hn::ScalableTag<float>;

// The first n lanes of x, minus infinity in the others: the neutral element of a softmax.
HWY_INLINE hn::Vec<Floats> load_logits(Floats d, const float* x, size_t n) {
  const auto nothing = hn::Set(d, -std::numeric_limits<float>::infinity());
  return hn::IfThenElse(hn::FirstN(d, n), load_first(d, x, n), nothing);
}

RowSum<float> exp_row_of_floats(const float* x, float* y, int64_t count) {
  const Floats d;
  const size_t lanes = hn::Lanes(d), n = static_cast<size_t>(count);
  const size_t tail = n % lanes, body = n - tail;

  auto max = load_logits(d, x + body, tail);
  for (size_t i = 0; i < body; i += lanes) max = larger(max, hn::LoadU(d, x + i));
  max = hn::MaxOfLanes(d, max);

  auto sum = hn::Zero(d), other = hn::Zero(d);  // two, so that they add up in parallel
  if (tail > 0) {
    sum = exp(d, hn::Sub(load_logits(d, x + body, tail), max));
    if (y) store_first(sum, d, y + body, tail);
  }
  const auto step = [&](size_t i, auto& into) HWY_ATTR {
    const auto e = exp(d, hn::Sub(hn::LoadU(d, x + i), max));
    if (y) hn::StoreU(e, d, y + i);
    into = hn::Add(into, e);
  };
  size_t i = 0;
  for (; i + 2 * lanes <= body; i += 2 * lanes) {
    step(i, sum);
    step(i + lanes, other);
  }
  if (i < body) step(i, sum);
  return {hn::GetLane(max), hn::GetLane(hn::SumOfLanes(d, hn::Add(sum, other)))};
}

float cross_entropy_row_of_floats(const float* labels, const float* x, float max, float log_sum,
                                  int64_t count) {
  const Floats d;
  const size_t lanes = hn::Lanes(d), n = static_cast<size_t>(count);
  const size_t tail = n % lanes, body = n - tail;
  const auto shift = hn::Set(d, max), log = hn::Set(d, log_sum);
  const auto term = [&](auto z, auto v)
                        HWY_ATTR { return hn::Mul(z, hn::Sub(log, hn::Sub(v, shift))); };
  auto sum = hn::Zero(d);
  for (size_t i = 0; i < body; i += lanes)
    sum = hn::Add(sum, term(hn::LoadU(d, labels + i), hn::LoadU(d, x + i)));
  if (tail > 0)
    sum = hn::Add(sum,
                  hn::IfThenElseZero(hn::FirstN(d, tail), term(load_first(d, labels + body, tail),
                                                               load_first(d, x + body, tail))));
  return hn::GetLane(hn::SumOfLanes(d, sum));
}

void sigmoid_cross_entropy_of_floats(const float* labels, const float* logits, float* y,
                                     int64_t count) {
  const Floats d;
  const size_t lanes = hn::Lanes(d), n = static_cast<size_t>(count);
  const size_t tail = n % lanes, body = n - tail;
  const auto loss = [&](auto z, auto x) HWY_ATTR {
    const auto linear = hn::Sub(at_least(d, 0.0f, x), hn::Mul(x, z));
    return hn::Add(linear, log1p_to_1(d, exp_minus_abs(d, x)));
  };
  for (size_t i = 0; i < body; i += lanes)
    hn::StoreU(loss(hn::LoadU(d, labels + i), hn::LoadU(d, logits + i)), d, y + i);
  if (tail > 0)
    store_first(loss(load_first(d, labels + body, tail), load_first(d, logits + body, tail)), d,
                y + body, tail);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace rein::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rein::kernels::simd {

using namespace rein::kernels;  // where the functions of each target are

HWY_EXPORT(exp_row_of_floats);
HWY_EXPORT(cross_entropy_row_of_floats);
HWY_EXPORT(sigmoid_cross_entropy_of_floats);

RowSum<float> exp_row(const float* x, float* y, int64_t n) noexcept {
  return HWY_DYNAMIC_DISPATCH(exp_row_of_floats)(x, y, n);
}
float cross_entropy_row(const float* labels, const float* x, float max, float log_sum,
                        int64_t n) noexcept {
  return HWY_DYNAMIC_DISPATCH(cross_entropy_row_of_floats)(labels, x, max, log_sum, n);
}
void sigmoid_cross_entropy_row(const float* labels, const float* logits, float* y,
                               int64_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(sigmoid_cross_entropy_of_floats)(labels, logits, y, n);
}

}  // namespace rein::kernels::simd
#endif
