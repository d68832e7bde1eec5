// Shapes and element types.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

namespace rein {

/// The sizes of a row-major array, outermost first; `{}` is a scalar. At most `kMaxRank` of them,
/// held inside the object. Where a function says so, -1 stands for "whatever is left".
class Shape {
 public:
  static constexpr int kMaxRank = 8;

  constexpr Shape() = default;
  Shape(std::initializer_list<int64_t> dims);
  explicit Shape(std::span<const int64_t> dims);

  int rank() const { return rank_; }
  int64_t operator[](int axis) const { return dims_[static_cast<size_t>(axis)]; }
  int64_t& operator[](int axis) { return dims_[static_cast<size_t>(axis)]; }
  int64_t back() const { return (*this)[rank_ - 1]; }
  std::span<const int64_t> dims() const { return {dims_.data(), static_cast<size_t>(rank_)}; }
  const int64_t* begin() const { return dims_.data(); }
  const int64_t* end() const { return dims_.data() + rank_; }
  void push_back(int64_t dim);

  /// The number of elements. A negative size throws InvalidArgument, and so does a product past
  /// 2^59, whose bytes could not be counted.
  int64_t size() const;
  /// The product of the sizes in [first, last): the usual way to fold axes together.
  int64_t size(int first, int last) const;

  friend bool operator==(const Shape& a, const Shape& b) {
    if (a.rank_ != b.rank_) return false;
    for (int i = 0; i < a.rank_; ++i)
      if (a[i] != b[i]) return false;
    return true;
  }

 private:
  std::array<int64_t, kMaxRank> dims_{};
  int rank_ = 0;
};

/// `[2, 3]`; a scalar is `[]`.
std::string to_string(const Shape& shape);

enum class DType : uint8_t { float32, float64, int32, int64 };

size_t size_of(DType dtype);
std::string_view to_string(DType dtype);
inline bool is_floating(DType dtype) { return dtype == DType::float32 || dtype == DType::float64; }

template <class T>
struct DTypeOf;
template <>
struct DTypeOf<float> {
  static constexpr DType value = DType::float32;
};
template <>
struct DTypeOf<double> {
  static constexpr DType value = DType::float64;
};
template <>
struct DTypeOf<int32_t> {
  static constexpr DType value = DType::int32;
};
template <>
struct DTypeOf<int64_t> {
  static constexpr DType value = DType::int64;
};
template <class T>
inline constexpr DType dtype_of = DTypeOf<T>::value;

/// Calls `f` with a zero of the floating type that `dtype` names: `visit_float(d, [&](auto zero) {
/// using T = decltype(zero); ... })`. The caller has made sure that it is one.
template <class F>
decltype(auto) visit_float(DType dtype, F&& f) {
  return dtype == DType::float64 ? f(double{}) : f(float{});
}

/// The same over all four types.
template <class F>
decltype(auto) visit_dtype(DType dtype, F&& f) {
  switch (dtype) {
    case DType::float64:
      return f(double{});
    case DType::int32:
      return f(int32_t{});
    case DType::int64:
      return f(int64_t{});
    case DType::float32:
      break;
  }
  return f(float{});
}

/// What is known of an array before it is computed.
struct Spec {
  Shape shape;
  DType dtype = DType::float32;
  int64_t size() const { return shape.size(); }
  size_t bytes() const { return static_cast<size_t>(shape.size()) * size_of(dtype); }
  friend bool operator==(const Spec&, const Spec&) = default;
};

/// `float32 [2, 3]`.
std::string to_string(const Spec& spec);

}  // namespace rein
