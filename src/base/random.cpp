#include "rein/base/random.h"

#include <cmath>
#include <numbers>

namespace rein {

std::array<uint32_t, 4> philox(std::array<uint32_t, 4> x, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53} * x[0];
    const uint64_t b = uint64_t{0xCD9E8D57} * x[2];
    x = {static_cast<uint32_t>(b >> 32) ^ x[1] ^ key[0], static_cast<uint32_t>(b),
         static_cast<uint32_t>(a >> 32) ^ x[3] ^ key[1], static_cast<uint32_t>(a)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return x;
}

namespace {
std::array<uint64_t, 2> draw(uint64_t seed, uint64_t stream, uint64_t index) {
  const auto x = philox({static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32),
                         static_cast<uint32_t>(stream), static_cast<uint32_t>(stream >> 32)},
                        {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
  return {uint64_t{x[0]} << 32 | x[1], uint64_t{x[2]} << 32 | x[3]};
}
double to_unit(uint64_t bits) { return static_cast<double>(bits >> 11) * 0x1p-53; }
}  // namespace

uint64_t RandomStream::bits(uint64_t index) const { return draw(seed_, stream_, index)[0]; }

double RandomStream::uniform(uint64_t index) const { return to_unit(bits(index)); }

double RandomStream::normal(uint64_t index) const {
  const auto [a, b] = draw(seed_, stream_, index);
  const double radius = std::sqrt(-2 * std::log(1 - to_unit(a)));  // 1 - u is in (0, 1]
  return radius * std::cos(2 * std::numbers::pi * to_unit(b));
}

uint64_t RandomStream::below(uint64_t index, uint64_t n) const {
  __extension__ using Wide = unsigned __int128;
  return static_cast<uint64_t>((static_cast<Wide>(bits(index)) * n) >> 64);
}

uint64_t stream_of(std::string_view name) {
  uint64_t hash = 0xcbf29ce484222325;
  for (char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return hash;
}

}  // namespace rein
