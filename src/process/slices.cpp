#include "process/slices.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <type_traits>
#include <vector>

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
  choose_parts();
}

void Slicing::choose_parts() {
  constexpr int64_t kPart = 65536;  // elements: worth a task
  constexpr int64_t kShare = 64;    // elements for each number that a part adds to the slices
  const int64_t inner = size_ / std::max<int64_t>(outer().size, 1);
  const int64_t least = outer().stride == 0 ? std::max(kPart, kShare * count_) : kPart;
  step_ = inner == 0 ? std::max<int64_t>(outer().size, 1) : (least + inner - 1) / inner;
}

Slicing::Part Slicing::part(size_t k) const {
  const int64_t begin = static_cast<int64_t>(k) * step_;
  const int64_t n = std::min(step_, outer().size - begin), inner = size_ / outer().size;
  Part part{*this, static_cast<size_t>(begin * inner), static_cast<size_t>(n * inner)};
  part.slicing.dimensions_[0].size = n;
  part.slicing.size_ = n * inner;
  if (outer().stride == 0) {
    part.number = k * count();
  } else {
    part.slicing.count_ = n * outer().stride;
    part.slice = part.number = static_cast<size_t>(begin * outer().stride);
  }
  return part;
}

Slicing Slicing::with_rows(int64_t rows, int64_t of) const {
  Slicing other = *this;
  const auto scaled = [&](int64_t n) { return n / of * rows; };
  other.dimensions_[0].size = scaled(dimensions_[0].size);  // rows, and what it shares with them
  if (dimensions_[0].stride != 0) other.count_ = scaled(count_);
  other.size_ = scaled(size_);
  other.choose_parts();
  return other;
}

SliceNorms::SliceNorms(const Variables& variables,
                       const std::function<std::vector<int>(const Shape&)>& axes,
                       std::string_view op) {
  size_t total = 0;
  for (const auto& entry : variables.layout().entries) {
    of_variable.emplace_back(entry.spec.shape, axes(entry.spec.shape), op, Where{});
    first.push_back(total);
    total += of_variable.back().room();
  }
  values.resize(total);
  tasks.resize(variables.size() + 1);
  changes.resize(variables.size());
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
    total += std::max(of_variable[i].room(), of_stored(gradients, i).room());
  }
  if (total > values.size()) values.resize(total);
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

template <class T>
void slice_norms(const Slicing::Part& part, std::span<const T> array, std::span<double> norms) {
  const auto x = array.subspan(part.element, part.elements);
  const auto own = norms.subspan(part.number, part.slicing.count());
  std::ranges::fill(own, 0.0);
  part.slicing.for_each_run([&](size_t slice, size_t i, size_t n, size_t step) {
    if (step == 1)
      kernels::add_squares(&own[slice], &x[i], n);
    else
      own[slice] += kernels::sum_of_squares(&x[i], n);
  });
  if constexpr (std::is_same_v<T, double>)
    if (!std::ranges::all_of(own, keeps_powers)) return scaled_slice_norms(part.slicing, x, own);
  for (double& norm : own) norm = std::sqrt(norm);
}
template void slice_norms(const Slicing::Part&, std::span<const float>, std::span<double>);
template void slice_norms(const Slicing::Part&, std::span<const double>, std::span<double>);

void join_slice_norms(const Slicing& slicing, std::span<double> norms) {
  const size_t count = slicing.count();
  if (norms.size() <= count) return;
  constexpr size_t kBlock = 64;
  for (size_t from = 0; from < count; from += kBlock) {
    const size_t n = std::min(kBlock, count - from);
    std::array<double, kBlock> sums{};
    for (size_t at = from; at < norms.size(); at += count)
      for (size_t j = 0; j < n; ++j) sums[j] += norms[at + j] * norms[at + j];
    for (size_t j = 0; j < n; ++j) {
      const size_t slice = from + j;
      if (keeps_powers(sums[j])) {
        norms[slice] = std::sqrt(sums[j]);
        continue;
      }
      JointNorm joint;
      for (size_t at = slice; at < norms.size(); at += count) joint.add(norms[at]);
      norms[slice] = joint.value();
    }
  }
}

}  // namespace rein
