#include "rein/process/clip_by_value.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "process/check.h"

namespace rein {
namespace {

constexpr std::string_view kOp = "clip_by_value";

template <class T>
T as(double bound, Where where) {
  if constexpr (std::is_integral_v<T>) {
    // 2^31 and 2^63 are doubles, the largest integers below them need not be.
    const double top = std::ldexp(1.0, std::numeric_limits<T>::digits);
    if (std::trunc(bound) != bound || bound < -top || bound >= top)
      throw InvalidArgument(
          kOp, fmt::format("bound {} is not one of the integers of the gradient", bound), where);
  }
  return static_cast<T>(bound);
}

// A bound at every element of `shape`. Rows of a sparse gradient take those of the whole array.
template <class T>
std::vector<T> expand(const Bound& bound, const Shape& shape, const Shape& whole,
                      std::span<const int64_t> rows, Where where) {
  const auto n = static_cast<size_t>(shape.size());
  if (const double* number = bound.number()) return std::vector<T>(n, as<T>(*number, where));
  const Tensor& tensor = *bound.tensor();
  if (tensor.dtype() != dtype_of<T>)
    throw InvalidArgument(kOp,
                          fmt::format("the bounds are {}, the gradient is {}",
                                      to_string(tensor.dtype()), to_string(dtype_of<T>)),
                          where);
  const Shape& own = tensor.shape();
  const int lead = whole.rank() - own.rank();
  bool fits = lead >= 0;
  std::array<int64_t, Shape::kMaxRank> strides{};
  int64_t stride = 1;
  for (int a = own.rank(); fits && a-- > 0; stride *= own[a]) {
    fits = own[a] == 1 || own[a] == whole[a + lead];
    strides[static_cast<size_t>(a + lead)] = own[a] == 1 ? 0 : stride;
  }
  if (!fits)
    throw InvalidArgument(kOp,
                          fmt::format("bounds {} do not stretch to the gradient {}; they may not "
                                      "enlarge it",
                                      to_string(own), to_string(whole)),
                          where);
  std::vector<T> out;
  out.reserve(n);
  const auto numbers = tensor.flat<T>();
  std::array<int64_t, Shape::kMaxRank> at{};
  for (size_t i = 0; i < n; ++i) {
    int64_t offset = 0;
    for (int a = 0; a < shape.rank(); ++a) {
      const auto k = static_cast<size_t>(a);
      const int64_t place = a == 0 && !rows.empty() ? rows[static_cast<size_t>(at[0])] : at[k];
      offset += place * strides[k];
    }
    out.push_back(numbers[static_cast<size_t>(offset)]);
    for (int a = shape.rank(); a-- > 0;) {
      if (++at[static_cast<size_t>(a)] < shape[a]) break;
      at[static_cast<size_t>(a)] = 0;
    }
  }
  return out;
}

template <class T>
bool is_nan(T x) {
  return x != x;
}

// One after the other; NaN stays, and a bound that is NaN makes all so.
template <class T>
T at_most(T x, T bound) {
  return is_nan(x) ? x : is_nan(bound) || bound < x ? bound : x;
}
template <class T>
T at_least(T x, T bound) {
  return is_nan(x) ? x : is_nan(bound) || bound > x ? bound : x;
}

template <class T>
Gradient clip(const Gradient& g, const Bound& lo, const Bound& hi, Semantics semantics,
              Where where) {
  const bool safe = semantics == Semantics::safe;
  const bool lo_first = semantics == Semantics::pytorch || semantics == Semantics::optax;
  const Tensor& values = g.values();
  // Safe: bounds belong to the places of the whole array. TensorFlow: to the values as they stand.
  const bool by_row = safe && g.is_sparse();
  const Shape& whole = by_row ? g.shape() : values.shape();
  std::span<const int64_t> rows;
  if (by_row) rows = g.sparse().indices.flat<int64_t>();
  const auto low = expand<T>(lo, values.shape(), whole, rows, where);
  const auto high = expand<T>(hi, values.shape(), whole, rows, where);
  Tensor out(values.spec());
  const auto from = values.flat<T>();
  const auto to = out.flat<T>();
  bool changed = false;
  for (size_t i = 0; i < from.size(); ++i) {
    if (safe && !(low[i] <= high[i]))
      throw InvalidArgument(
          kOp,
          fmt::format("the bounds must be numbers, the lower first, got {} and {}", low[i],
                      high[i]),
          where);
    T x = lo_first ? at_most(at_least(from[i], low[i]), high[i])
                   : at_least(at_most(from[i], high[i]), low[i]);
    if (semantics == Semantics::keras && !(high[i] > 0)) x = from[i];
    changed |= !(x == from[i]) && !is_nan(from[i]);
    to[i] = x;
  }
  return changed ? g.with_values(std::move(out)) : g;
}

}  // namespace

Gradient clip_by_value(const Gradient& g, const Bound& lo, const Bound& hi, Semantics semantics,
                       Where where) {
  const bool safe = semantics == Semantics::safe;
  if (!g) {
    if (semantics != Semantics::tensorflow) return g;
    throw InvalidArgument(kOp, "the gradient is absent; TensorFlow refuses it, so pass it by",
                          where);
  }
  if (g.is_sparse()) validate(g.sparse(), where);
  if (const double* a = lo.number(), *b = hi.number(); a && b)
    check_bounds(kOp, *a, *b, semantics, where);
  const Gradient whole = safe && g.is_sparse() ? Gradient(merge_duplicates(g.sparse(), where)) : g;
  Gradient clipped = visit_dtype(g.values().dtype(), [&](auto zero) {
    return clip<decltype(zero)>(whole, lo, hi, semantics, where);
  });
  return clipped.values().data() == whole.values().data() ? g : clipped;
}

std::vector<Gradient> clip_by_value(std::span<const Gradient> gradients, const Bound& lo,
                                    const Bound& hi, Semantics semantics, Where where) {
  check_not_all_absent(kOp, gradients, semantics, where);
  const bool none = std::ranges::none_of(gradients, [](const Gradient& g) { return bool(g); });
  if (none && semantics == Semantics::pytorch)
    throw InvalidArgument(kOp, "no gradient is there; PyTorch refuses that", where);
  std::vector<Gradient> clipped;
  for (const Gradient& g : gradients) clipped.push_back(clip_by_value(g, lo, hi, semantics, where));
  return clipped;
}

}  // namespace rein
