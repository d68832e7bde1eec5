#include "rein/base/shape.h"

#include <fmt/format.h>

#include <algorithm>

#include "rein/base/error.h"

namespace rein {

Shape::Shape(std::initializer_list<int64_t> dims)
    : Shape(std::span<const int64_t>(dims.begin(), dims.size())) {}

Shape::Shape(std::span<const int64_t> dims) {
  for (int64_t dim : dims) push_back(dim);
}

void Shape::push_back(int64_t dim) {
  if (rank_ == kMaxRank)
    throw InvalidArgument("Shape", fmt::format("more than {} axes", kMaxRank), Where{});
  dims_[static_cast<size_t>(rank_++)] = dim;
}

int64_t Shape::size() const { return size(0, rank_); }

int64_t Shape::size(int first, int last) const {
  constexpr int64_t kLimit = int64_t{1} << 59;
  int64_t product = 1;
  for (int axis = first; axis < last; ++axis) {
    const int64_t dim = (*this)[axis];
    if (dim < 0 || (dim > 0 && product > kLimit / dim))
      throw InvalidArgument("Shape",
                            fmt::format("{} has {}", to_string(*this),
                                        dim < 0 ? "a negative size" : "too many elements"),
                            Where{});
    product *= dim;
  }
  return product;
}

std::string to_string(const Shape& shape) {
  return fmt::format("[{}]", fmt::join(shape.dims(), ", "));
}

size_t size_of(DType dtype) { return dtype == DType::float64 || dtype == DType::int64 ? 8 : 4; }

std::string_view to_string(DType dtype) {
  constexpr std::string_view kNames[] = {"float32", "float64", "int32", "int64"};
  return kNames[static_cast<size_t>(dtype)];
}

std::string to_string(const Spec& spec) {
  return fmt::format("{} {}", to_string(spec.dtype), to_string(spec.shape));
}

}  // namespace rein
