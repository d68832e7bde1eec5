#include "rein/tensor/gradient.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <numeric>

namespace rein {
namespace {

template <class T>
void add_row(T* to, const T* from, int64_t n) {
  for (int64_t i = 0; i < n; ++i) to[i] += from[i];
}

constexpr std::string_view kOp = "IndexedSlices";

[[noreturn]] void refuse_types(const Tensor& values, const Tensor& indices, Where where) {
  throw InvalidArgument(kOp,
                        fmt::format("values are floating and indices int64, got {} and {}",
                                    to_string(values.spec()), to_string(indices.spec())),
                        where);
}

template <class Index>
void validate_rows(std::span<const Index> rows, const Shape& dense_shape, Where where) {
  for (Index row : rows)
    if (row < 0 || row >= dense_shape[0])
      throw InvalidArgument(
          kOp, fmt::format("index {} is not a row of {}", row, to_string(dense_shape)), where);
}

// Indices of either type.
void validate_parts(const Tensor& values, const Tensor& indices, const Shape& dense_shape,
                    Where where) {
  if (dense_shape.rank() == 0) throw InvalidArgument(kOp, "a scalar has no rows", where);
  if (!is_floating(values.dtype()) || is_floating(indices.dtype()))
    refuse_types(values, indices, where);
  Shape shape = dense_shape;
  shape[0] = indices.size();
  if (indices.shape() != Shape{indices.size()} || values.shape() != shape)
    throw InvalidArgument(
        kOp,
        fmt::format("values {} at indices {} are no rows of {}", to_string(values.shape()),
                    to_string(indices.shape()), to_string(dense_shape)),
        where);
  if (indices.dtype() == DType::int32)
    validate_rows(indices.flat<int32_t>(), dense_shape, where);
  else
    validate_rows(indices.flat<int64_t>(), dense_shape, where);
}

int64_t row_size(const IndexedSlices& s) { return s.dense_shape.size(1, s.dense_shape.rank()); }

}  // namespace

void validate(const IndexedSlices& slices, Where where) {
  if (slices.indices.dtype() != DType::int64) refuse_types(slices.values, slices.indices, where);
  validate_parts(slices.values, slices.indices, slices.dense_shape, where);
}

IndexedSlices merge_duplicates(const IndexedSlices& slices, Where where) {
  validate(slices, where);
  SlicesBuffer merged;
  merged.assign(slices.values, slices.indices, slices.dense_shape, where);
  merged.merge_duplicates();
  return {merged.slices().values.clone(), merged.slices().indices.clone(), slices.dense_shape};
}

void SlicesBuffer::point_to(Memory& memory, int64_t count, int64_t room) {
  Shape shape = slices_.dense_shape;
  const auto grow = [](Buffer& buffer, const Spec& spec) {
    if (buffer.size() < spec.bytes()) buffer = Buffer(spec.bytes());
  };
  shape[0] = room;
  grow(memory.values, {shape, slices_.values.dtype()});
  grow(memory.indices, {{room}, DType::int64});
  shape[0] = count;
  const Spec values{shape, slices_.values.dtype()}, indices{{count}, DType::int64};
  slices_.values = Tensor::view(values, memory.values.data());
  slices_.indices = Tensor::view(indices, memory.indices.data());
}

void SlicesBuffer::assign(const Tensor& values, const Tensor& indices, const Shape& dense_shape,
                          Where where) {
  validate_parts(values, indices, dense_shape, where);
  slices_.dense_shape = dense_shape;
  slices_.values = values;  // for its dtype
  point_to(now_, indices.size(), indices.size());
  if (values.size() > 0) std::memcpy(now_.values.data(), values.data(), values.spec().bytes());
  const auto rows = slices_.indices.flat<int64_t>();
  if (indices.dtype() == DType::int32)
    std::ranges::copy(indices.flat<int32_t>(), rows.begin());
  else
    std::ranges::copy(indices.flat<int64_t>(), rows.begin());
}

void SlicesBuffer::append(const IndexedSlices& more) {
  const IndexedSlices before = slices_;
  const int64_t count = before.indices.size() + more.indices.size();
  point_to(spare_, count, count);
  std::swap(now_, spare_);
  const auto join = [](Tensor& to, const Tensor& a, const Tensor& b) {
    auto* bytes = static_cast<std::byte*>(to.data());
    if (a.size() > 0) std::memcpy(bytes, a.data(), a.spec().bytes());
    if (b.size() > 0) std::memcpy(bytes + a.spec().bytes(), b.data(), b.spec().bytes());
  };
  join(slices_.values, before.values, more.values);
  join(slices_.indices, before.indices, more.indices);
}

// By row, stable, digit by digit: comparing rows would take longer than adding them.
void SlicesBuffer::sort_order() {
  constexpr int kBits = 11;
  constexpr size_t kDigits = size_t{1} << kBits;
  spare_order_.resize(order_.size());
  const int64_t last = slices_.dense_shape[0] - 1;
  for (int shift = 0; last >> shift > 0; shift += kBits) {
    const auto digit = [&](const PlacedRow& r) {
      return static_cast<size_t>(r.row >> shift) % kDigits;
    };
    std::array<size_t, kDigits + 1> starts{};
    for (const PlacedRow& r : order_) ++starts[digit(r) + 1];
    std::partial_sum(starts.begin(), starts.end(), starts.begin());
    for (const PlacedRow& r : order_) spare_order_[starts[digit(r)]++] = r;
    order_.swap(spare_order_);
  }
}

void SlicesBuffer::merge_duplicates(ThreadTeam* team) {
  const auto rows = std::as_const(slices_.indices).flat<int64_t>();
  if (std::ranges::adjacent_find(rows, std::ranges::greater_equal{}) == rows.end()) return;
  order_.clear();
  for (size_t k = 0; k < rows.size(); ++k) order_.push_back({rows[k], static_cast<int64_t>(k)});
  sort_order();
  firsts_.clear();
  for (size_t i = 0; i < order_.size(); ++i)
    if (i == 0 || order_[i].row != order_[i - 1].row) firsts_.push_back(i);
  const auto count = static_cast<int64_t>(firsts_.size());
  firsts_.push_back(order_.size());

  const Tensor before = slices_.values;
  point_to(spare_, count, static_cast<int64_t>(rows.size()));
  std::swap(now_, spare_);
  const int64_t width = row_size(slices_);
  const auto indices = slices_.indices.flat<int64_t>();
  visit_float(before.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const T* from = before.flat<T>().data();
    T* to = slices_.values.flat<T>().data();
    const auto merge = [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const size_t first = firsts_[static_cast<size_t>(row)];
        const size_t last = firsts_[static_cast<size_t>(row) + 1];
        indices[static_cast<size_t>(row)] = order_[first].row;
        const auto at = [&](size_t i) { return from + order_[i].place * width; };
        std::copy_n(at(first), width, to + row * width);
        for (size_t i = first + 1; i < last; ++i) add_row(to + row * width, at(i), width);
      }
    };
    constexpr int64_t kElements = 16384;  // that one task reads
    if (team)
      team->run_ranges(
          count, std::max<int64_t>(1, kElements * count / std::max<int64_t>(1, before.size())),
          merge);
    else
      merge(0, count);
  });
}

Tensor to_dense(const IndexedSlices& slices, Where where) {
  validate(slices, where);
  Tensor dense(slices.dense_shape, slices.values.dtype());
  const int64_t width = row_size(slices);
  visit_float(dense.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const T* from = slices.values.flat<T>().data();
    for (int64_t row : slices.indices.flat<int64_t>()) {
      add_row(dense.flat<T>().data() + row * width, from, width);
      from += width;
    }
  });
  return dense;
}

const Tensor& Gradient::dense(Where where) const {
  if (!is_dense()) throw InvalidArgument("Gradient::dense", "it is absent or sparse", where);
  return std::get<Tensor>(value_);
}

const IndexedSlices& Gradient::sparse(Where where) const {
  if (!is_sparse()) throw InvalidArgument("Gradient::sparse", "it is absent or dense", where);
  return std::get<IndexedSlices>(value_);
}

const Tensor& Gradient::values(Where where) const {
  return is_sparse() ? sparse(where).values : dense(where);
}

Gradient Gradient::with_values(Tensor values) const {
  if (!is_sparse()) return values;
  return IndexedSlices{std::move(values), sparse().indices, sparse().dense_shape};
}

const Shape& Gradient::shape(Where where) const {
  return is_sparse() ? sparse(where).dense_shape : dense(where).shape();
}

}  // namespace rein
