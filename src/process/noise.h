// Normal noise on all gradients that are there.
#pragma once

#include "process/pieces.h"
#include "rein/base/random.h"

namespace rein {

/// Adds a normal number to each stored one, a function of seed, stream_of(variable) and
/// `first` + element alone. `gradients.scale` is no part of it; rows have been merged.
template <class T, class StreamOf>
void add_normal(Gradients& gradients, Seed seed, StreamOf stream_of, uint64_t first,
                double deviation) {
  for_each_piece<T>(gradients, [&](size_t i, std::span<T> x) {
    const RandomStream random(seed, stream_of(i));
    const bool dense = gradients.kind(i) == Gradients::Kind::dense;
    const T* start = dense ? gradients.dense<T>(i).data() : x.data();
    const uint64_t at = first + static_cast<uint64_t>(x.data() - start);
    for (size_t j = 0; j < x.size(); ++j)
      x[j] = static_cast<T>(static_cast<double>(x[j]) + deviation * random.normal(at + j));
  });
}

}  // namespace rein
