// Gradients from gradients, one at a time.
#pragma once

#include <utility>

#include "process/l2.h"
#include "process/reference.h"
#include "rein/kernels/update.h"
#include "rein/tensor/gradient.h"

namespace rein {

/// A gradient of the same kind whose numbers are `f` of the old ones.
template <class T, class F>
Gradient map(const Gradient& g, F f) {
  Tensor out(g.values().spec());
  const auto from = g.values().flat<T>();
  const auto to = out.flat<T>();
  for (size_t i = 0; i < from.size(); ++i) to[i] = f(from[i]);
  return g.with_values(std::move(out));
}

inline Gradient merged(const Gradient& g) {
  return g.is_sparse() ? Gradient(merge_duplicates(g.sparse())) : g;
}

inline double safe_norm(const Gradient& g, double order) {
  const Gradient whole = merged(g);
  return visit_float(g.values().dtype(), [&](auto zero) {
    return p_norm(whole.values().flat<decltype(zero)>(), order);
  });
}

/// Times a factor; with 1, the very same gradient.
inline Gradient scaled(const Gradient& g, double factor) {
  if (!g || factor == 1) return g;
  return visit_float(g.values().dtype(), [&](auto zero) {
    using T = decltype(zero);
    Tensor out(g.values().spec());
    kernels::scale_into(g.values().flat<T>().data(), factor, out.flat<T>().data(),
                        static_cast<size_t>(out.size()));
    return g.with_values(std::move(out));
  });
}

}  // namespace rein
