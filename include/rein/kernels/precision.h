// How the inputs of matrix products are rounded.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace rein {

/// What products of float32 make of their inputs before they multiply. Sums are float32 in each,
/// and so is everything that is no product.
enum class Precision : uint8_t {
  f32,    // nothing
  bf16,   // rounded to bfloat16, to nearest even: 8 significant bits
  bf16x3  // split into two of them, high and low, and high low + high high + low high added: 16
          // bits
};
std::string_view to_string(Precision precision);
/// Nothing if there is no such one.
std::optional<Precision> precision_of(std::string_view name);

/// What multiplies numbers of bfloat16. Each adds in an order of its own, so that the bits of one
/// are not those of the other.
enum class NarrowUnit : uint8_t {
  amx,         // tiles: Intel's processors from Sapphire Rapids on
  avx512_bf16  // pairs of numbers: AMD's from Zen 4 on, Intel's Cooper Lake
};
std::string_view to_string(NarrowUnit unit);
/// Nothing if there is no such one.
std::optional<NarrowUnit> narrow_unit_of(std::string_view name);

struct ProductOptions {
  Precision precision = Precision::f32;
  /// Narrow products in vector code that any processor has, instead of a unit: slow, and the same
  /// bits.
  bool emulated = false;
  /// Nothing: the first that this process may use, or amx if there is none to emulate.
  std::optional<NarrowUnit> unit{};

  bool narrow() const { return precision != Precision::f32; }
  friend bool operator==(const ProductOptions&, const ProductOptions&) = default;
};

/// The unit whose bits narrow products have.
NarrowUnit unit_of(const ProductOptions& options);

/// Why this process cannot compute such products; empty if it can. A unit counts only if
/// DNNL_MAX_CPU_ISA allows it, as it does for the library that computes wider products.
std::string why_not(const ProductOptions& options);

}  // namespace rein
