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

struct ProductOptions {
  Precision precision = Precision::f32;
  /// Narrow products in vector code that any processor has, instead of its matrix unit: slow, and
  /// the same bits.
  bool emulated = false;

  bool narrow() const { return precision != Precision::f32; }
  friend bool operator==(const ProductOptions&, const ProductOptions&) = default;
};

/// Why this processor cannot compute such products; empty if it can. A matrix unit (AMX) counts
/// only if DNNL_MAX_CPU_ISA allows it, as it does for the library that computes wider products.
std::string why_not(const ProductOptions& options);

}  // namespace rein
