// Arrays of numbers.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "rein/base/error.h"
#include "rein/base/memory.h"
#include "rein/base/shape.h"

namespace rein {

/// A dense row-major array: a handle on shared storage, cheap to copy. Two copies see the same
/// numbers; `clone()` makes new ones.
///
///     Tensor x({2, 3});                              // float32 zeros
///     auto y = Tensor::of<float>({2}, {1, 2});       // from values
///     y.flat<float>()[0] = 3;
class Tensor {
 public:
  Tensor() = default;  // float32 [0]: no numbers, no storage
  explicit Tensor(Shape shape, DType dtype = DType::float32, Where where = Where::here());
  explicit Tensor(const Spec& spec) : Tensor(spec.shape, spec.dtype) {}

  template <class T>
  static Tensor of(Shape shape, std::initializer_list<T> values, Where where = Where::here()) {
    return copy_of<T>(shape, std::span<const T>(values.begin(), values.size()), where);
  }
  /// Copies `values`, whose number must fit the shape.
  template <class T>
  static Tensor copy_of(Shape shape, std::span<const T> values, Where where = Where::here());
  template <class T>
  static Tensor scalar(T value) {
    return of<T>({}, {value});
  }
  /// A view of memory that somebody else keeps alive as long as `owner`, or forever.
  static Tensor view(const Spec& spec, void* data, std::shared_ptr<const void> owner = nullptr);

  bool defined() const { return data_ != nullptr || spec_.size() == 0; }
  const Spec& spec() const { return spec_; }
  const Shape& shape() const { return spec_.shape; }
  DType dtype() const { return spec_.dtype; }
  int64_t size() const { return spec_.size(); }

  void* data() { return data_; }
  const void* data() const { return data_; }

  /// All elements in row-major order. The wrong `T` throws InvalidArgument.
  template <class T>
  std::span<T> flat(Where where = Where::here()) {
    expect(dtype_of<T>, where);
    return {static_cast<T*>(data_), static_cast<size_t>(size())};
  }
  template <class T>
  std::span<const T> flat(Where where = Where::here()) const {
    expect(dtype_of<T>, where);
    return {static_cast<const T*>(data_), static_cast<size_t>(size())};
  }
  /// The only element, whatever the dtype.
  double item(Where where = Where::here()) const;

  Tensor clone() const;
  /// A copy in another type; floats go to integers by truncation.
  Tensor cast(DType dtype) const;
  /// The same storage under another shape of the same size.
  Tensor reshaped(Shape shape, Where where = Where::here()) const;
  /// Part of the same storage, `offset` elements on.
  Tensor piece(int64_t offset, const Shape& shape) const;

 private:
  void expect(DType dtype, Where where) const;

  Spec spec_{Shape{0}, DType::float32};
  void* data_ = nullptr;
  std::shared_ptr<const void> owner_;
};

}  // namespace rein
