#include "rein/kernels/precision.h"

#include <oneapi/dnnl/dnnl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>

namespace rein {
namespace {

constexpr std::array kPrecisions = {Precision::f32, Precision::bf16, Precision::bf16x3};
constexpr std::array kUnits = {NarrowUnit::amx, NarrowUnit::avx512_bf16};

template <class T, size_t N>
std::optional<T> named(const std::array<T, N>& all, std::string_view name) {
  const auto found = std::ranges::find_if(all, [&](T one) { return to_string(one) == name; });
  return found == all.end() ? std::nullopt : std::optional(*found);
}

bool allowed(NarrowUnit unit) {
  const unsigned isa = dnnl_get_effective_cpu_isa();
  const unsigned needed =
      unit == NarrowUnit::amx ? dnnl_cpu_isa_avx512_core_amx : dnnl_cpu_isa_avx512_core_bf16;
  return (isa & needed) == needed;
}

// Linux hands out the registers of AMX on request, to the whole process.
bool may_use_tiles() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  static const bool may = syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  return may;
}

bool usable(NarrowUnit unit) {
  return allowed(unit) && (unit != NarrowUnit::amx || may_use_tiles());
}

}  // namespace

std::string_view to_string(Precision precision) {
  constexpr std::string_view kNames[] = {"f32", "bf16", "bf16x3"};
  return kNames[static_cast<size_t>(precision)];
}

std::optional<Precision> precision_of(std::string_view name) { return named(kPrecisions, name); }

std::string_view to_string(NarrowUnit unit) {
  constexpr std::string_view kNames[] = {"amx", "avx512_bf16"};
  return kNames[static_cast<size_t>(unit)];
}

std::optional<NarrowUnit> narrow_unit_of(std::string_view name) { return named(kUnits, name); }

NarrowUnit unit_of(const ProductOptions& options) {
  if (options.unit) return *options.unit;
  const auto* first = std::ranges::find_if(kUnits, usable);
  return first == kUnits.end() ? NarrowUnit::amx : *first;
}

std::string why_not(const ProductOptions& options) {
  if (!options.narrow() || options.emulated || usable(unit_of(options))) return {};
  if (options.unit == NarrowUnit::amx && allowed(NarrowUnit::amx))
    return "the system does not let this process use AMX; take f32";
  const std::string missing = !options.unit                      ? "neither AMX nor AVX512-BF16"
                              : *options.unit == NarrowUnit::amx ? "no AMX"
                                                                 : "no AVX512-BF16";
  return "this processor has " + missing +
         " for products of bfloat16, or DNNL_MAX_CPU_ISA forbids it; take f32";
}

}  // namespace rein
