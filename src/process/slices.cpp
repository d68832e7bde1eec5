#include "process/slices.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "process/l2.h"

namespace rein {

Slicing::Slicing(const Shape& shape, const std::vector<int>& axes, std::string_view op, Where where)
    : size_(shape.size()) {
  std::array<bool, Shape::kMaxRank> reduced{};
  for (int axis : axes) {
    const int a = axis < 0 ? axis + shape.rank() : axis;
    if (a < 0 || a >= shape.rank())
      throw InvalidArgument(op, fmt::format("shape {} has no axis {}", to_string(shape), axis),
                            where);
    reduced[static_cast<size_t>(a)] = true;
  }
  // From the last axis to the first; then turned round.
  int n = 0;
  for (int a = shape.rank(); a-- > 0;) {
    const bool kept = !reduced[static_cast<size_t>(a)];
    if (n > 0 && (dimensions_[static_cast<size_t>(n - 1)].stride != 0) == kept)
      dimensions_[static_cast<size_t>(n - 1)].size *= shape[a];
    else
      dimensions_[static_cast<size_t>(n++)] = {shape[a], kept ? count_ : 0};
    if (kept) count_ *= shape[a];
  }
  rank_ = std::max(n, 1);
  std::reverse(dimensions_.begin(), dimensions_.begin() + rank_);
}

Slicing Slicing::with_rows(int64_t rows, int64_t of) const {
  Slicing other = *this;
  const auto scaled = [&](int64_t n) { return n / of * rows; };
  other.dimensions_[0].size = scaled(dimensions_[0].size);  // rows, and what it shares with them
  if (dimensions_[0].stride != 0) other.count_ = scaled(count_);
  other.size_ = scaled(size_);
  return other;
}

SliceNorms::SliceNorms(const Variables& variables,
                       const std::function<std::vector<int>(const Shape&)>& axes,
                       std::string_view op) {
  size_t total = 0;
  for (const auto& entry : variables.layout().entries) {
    of_variable.emplace_back(entry.spec.shape, axes(entry.spec.shape), op);
    first.push_back(total);
    total += of_variable.back().count();
  }
  values.resize(total);
  others.resize(total);
}

Slicing SliceNorms::of_stored(const Gradients& gradients, size_t variable) const {
  const Slicing& all = of_variable[variable];
  if (gradients.kind(variable) != Gradients::Kind::sparse) return all;
  const IndexedSlices& slices = gradients.sparse(variable);
  return all.with_rows(slices.values.shape()[0], slices.dense_shape[0]);
}

void SliceNorms::fit(const Gradients& gradients) {
  size_t total = 0;
  for (size_t i = 0; i < first.size(); ++i) {
    first[i] = total;
    total += std::max(of_variable[i].count(), of_stored(gradients, i).count());
  }
  if (total <= values.size()) return;
  values.resize(total);
  others.resize(total);
}

void slice_norms(const Slicing& slicing, std::span<const float> x, std::span<double> norms) {
  std::ranges::fill(norms, 0.0);
  slicing.for_each_run([&](size_t slice, size_t i, size_t n, size_t step) {
    if (step == 0) {
      norms[slice] += kernels::sum_of_squares(&x[i], n);
      return;
    }
    kernels::add_squares(&norms[slice], &x[i], n);
  });
  for (double& norm : norms) norm = std::sqrt(norm);
}

namespace {

// For doubles whose squares overflow or vanish.
void scaled_slice_norms(const Slicing& slicing, std::span<const double> x,
                        std::span<double> norms) {
  std::vector<double> largest(norms.size(), 0.0), factors;
  const auto each = [&](auto f) {
    slicing.for_each_run([&](size_t slice, size_t i, size_t n, size_t step) {
      for (size_t j = 0; j < n; ++j) f(slice + j * step, x[i + j]);
    });
  };
  each([&](size_t s, double v) {
    const double size = std::abs(v);
    if (size > largest[s] || std::isnan(size)) largest[s] = size;  // nothing is above NaN
  });
  for (double size : largest) factors.push_back(unit_factor(size));
  std::ranges::fill(norms, 0.0);
  each([&](size_t s, double v) { norms[s] += (v * factors[s]) * (v * factors[s]); });
  for (size_t s = 0; s < norms.size(); ++s)
    norms[s] = std::isfinite(largest[s]) ? std::sqrt(norms[s]) / factors[s] : largest[s];
}

}  // namespace

void slice_norms(const Slicing& slicing, std::span<const double> x, std::span<double> norms) {
  std::ranges::fill(norms, 0.0);
  add_to_slices(slicing, x, norms, [](double v) { return v * v; });
  if (!std::ranges::all_of(norms, [](double sum) { return sum > 1e-280 && sum < 1e300; }))
    return scaled_slice_norms(slicing, x, norms);
  for (double& norm : norms) norm = std::sqrt(norm);
}

}  // namespace rein
