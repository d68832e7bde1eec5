#include "rein/tensor/gradient.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace rein {
namespace {

template <class T>
void add_row(T* to, const T* from, int64_t n) {
  for (int64_t i = 0; i < n; ++i) to[i] += from[i];
}

int64_t row_size(const IndexedSlices& s) { return s.dense_shape.size(1, s.dense_shape.rank()); }

}  // namespace

void validate(const IndexedSlices& slices, Where where) {
  constexpr std::string_view kOp = "IndexedSlices";
  const Tensor &values = slices.values, &indices = slices.indices;
  if (slices.dense_shape.rank() == 0) throw InvalidArgument(kOp, "a scalar has no rows", where);
  if (!is_floating(values.dtype()) || indices.dtype() != DType::int64)
    throw InvalidArgument(kOp,
                          fmt::format("values are floating and indices int64, got {} and {}",
                                      to_string(values.spec()), to_string(indices.spec())),
                          where);
  Shape shape = slices.dense_shape;
  shape[0] = indices.size();
  if (indices.shape() != Shape{indices.size()} || values.shape() != shape)
    throw InvalidArgument(
        kOp,
        fmt::format("values {} at indices {} are no rows of {}", to_string(values.shape()),
                    to_string(indices.shape()), to_string(slices.dense_shape)),
        where);
  for (int64_t row : indices.flat<int64_t>())
    if (row < 0 || row >= slices.dense_shape[0])
      throw InvalidArgument(
          kOp, fmt::format("index {} is not a row of {}", row, to_string(slices.dense_shape)),
          where);
}

IndexedSlices merge_duplicates(const IndexedSlices& slices, Where where) {
  validate(slices, where);
  const auto rows = slices.indices.flat<int64_t>();
  std::vector<size_t> order(rows.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, {}, [&](size_t k) { return rows[k]; });
  std::vector<int64_t> unique;
  for (size_t k : order)
    if (unique.empty() || unique.back() != rows[k]) unique.push_back(rows[k]);

  Shape shape = slices.dense_shape;
  shape[0] = static_cast<int64_t>(unique.size());
  IndexedSlices merged{Tensor(shape, slices.values.dtype()),
                       Tensor::copy_of<int64_t>({shape[0]}, unique), slices.dense_shape};
  const int64_t width = row_size(slices);
  visit_float(slices.values.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const T* from = slices.values.flat<T>().data();
    T* to = merged.values.flat<T>().data();
    for (size_t i = 0; i < order.size(); ++i) {
      if (i > 0 && rows[order[i]] != rows[order[i - 1]]) to += width;
      add_row(to, from + static_cast<int64_t>(order[i]) * width, width);
    }
  });
  return merged;
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
