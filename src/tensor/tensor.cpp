#include "rein/tensor/tensor.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace rein {

Tensor::Tensor(Shape shape, DType dtype, Where where) : spec_{shape, dtype} {
  for (int64_t dim : shape)
    if (dim < 0)
      throw InvalidArgument("Tensor", fmt::format("negative size in {}", to_string(shape)), where);
  auto buffer = std::make_shared<Buffer>(spec_.bytes());
  data_ = buffer->data();
  owner_ = std::move(buffer);
}

template <class T>
Tensor Tensor::copy_of(Shape shape, std::span<const T> values, Where where) {
  if (shape.size() != static_cast<int64_t>(values.size()))
    throw InvalidArgument(
        "Tensor", fmt::format("{} values for shape {}", values.size(), to_string(shape)), where);
  Tensor t(shape, dtype_of<T>, where);
  std::ranges::copy(values, t.flat<T>().begin());
  return t;
}
template Tensor Tensor::copy_of(Shape, std::span<const float>, Where);
template Tensor Tensor::copy_of(Shape, std::span<const double>, Where);
template Tensor Tensor::copy_of(Shape, std::span<const int32_t>, Where);
template Tensor Tensor::copy_of(Shape, std::span<const int64_t>, Where);

Tensor Tensor::view(const Spec& spec, void* data, std::shared_ptr<const void> owner) {
  Tensor t;
  t.spec_ = spec;
  t.data_ = data;
  t.owner_ = std::move(owner);
  return t;
}

double Tensor::item(Where where) const {
  if (size() != 1)
    throw InvalidArgument("Tensor::item",
                          fmt::format("shape {} has not one element", to_string(shape())), where);
  return visit_dtype(dtype(), [&](auto zero) {
    return static_cast<double>(*static_cast<const decltype(zero)*>(data_));
  });
}

Tensor Tensor::clone() const {
  Tensor t(shape(), dtype());
  if (size() > 0) std::memcpy(t.data_, data_, spec_.bytes());
  return t;
}

Tensor Tensor::cast(DType to) const {
  if (to == dtype()) return clone();
  Tensor t(shape(), to);
  visit_dtype(dtype(), [&](auto from_zero) {
    visit_dtype(to, [&](auto to_zero) {
      std::ranges::transform(flat<decltype(from_zero)>(), t.flat<decltype(to_zero)>().begin(),
                             [](auto v) { return static_cast<decltype(to_zero)>(v); });
    });
  });
  return t;
}

Tensor Tensor::reshaped(Shape shape, Where where) const {
  if (shape.size() != size())
    throw InvalidArgument(
        "Tensor::reshaped",
        fmt::format("{} has not the size of {}", to_string(shape), to_string(this->shape())),
        where);
  return piece(0, shape);
}

Tensor Tensor::piece(int64_t offset, const Shape& shape) const {
  Tensor t = *this;
  t.spec_.shape = shape;
  t.data_ = static_cast<std::byte*>(data_) + static_cast<size_t>(offset) * size_of(dtype());
  return t;
}

void Tensor::expect(DType wanted, Where where) const {
  if (wanted != dtype())
    throw InvalidArgument(
        "Tensor::flat",
        fmt::format("asked for {} of a tensor of {}", to_string(wanted), to_string(dtype())),
        where);
}

}  // namespace rein
