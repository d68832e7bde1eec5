// Normal noise on all gradients that are there.
#pragma once

#include "process/pieces.h"
#include "rein/base/random.h"

namespace rein {

/// Adds a normal number to each stored one, a function of seed, stream_of(variable), step and
/// element, the place in the whole variable, alone. `gradients.scale` is no part of it; rows have
/// been merged.
template <class T, class StreamOf>
void add_normal(Gradients& gradients, Seed seed, StreamOf stream_of, int64_t step,
                double deviation) {
  // A stream has room for 2^24 steps of 2^40 elements; then others follow, far from all names'.
  constexpr uint64_t kBeyond = 0x9e3779b97f4a7c15;
  const uint64_t first = static_cast<uint64_t>(step) << 40;
  const uint64_t beyond = (static_cast<uint64_t>(step) >> 24) * kBeyond;
  for_each_piece<T>(gradients, [&](size_t i, std::span<T> x) {
    const RandomStream random(seed, stream_of(i) ^ beyond);
    const auto add = [&](std::span<T> some, size_t element) {
      for (T& v : some)
        v = static_cast<T>(static_cast<double>(v) + deviation * random.normal(first + element++));
    };
    if (gradients.kind(i) == Gradients::Kind::dense)
      return add(x, static_cast<size_t>(x.data() - gradients.dense<T>(i).data()));
    const auto rows = gradients.sparse(i).indices.template flat<int64_t>();
    const size_t width = rows.empty() ? 0 : x.size() / rows.size();
    for (size_t k = 0; k < rows.size(); ++k)
      add(x.subspan(k * width, width), static_cast<size_t>(rows[k]) * width);
  });
}

}  // namespace rein
