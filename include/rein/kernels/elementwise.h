// Elementwise functions on dense arrays. T is float (vector code, chosen for the processor at run
// time) or double (plain loops). Results do not depend on the number of threads, nor an element's
// bits on where it stands. A result may be written over an operand of its own size.
#pragma once

#include "rein/base/random.h"
#include "rein/base/thread_team.h"
#include "rein/kernels/broadcast.h"

namespace rein::kernels {

enum class Unary : uint8_t {
  neg,
  exp,
  log,
  sqrt,
  square,
  abs,
  sign,  // 1, -1, or x itself: 0, NaN
  tanh,
  sigmoid,   // 1 / (1 + exp(-x))
  relu,      // max(x, 0)
  softplus,  // log(1 + exp(x))
};

enum class Binary : uint8_t {
  add,
  sub,
  mul,
  div,
  maximum,  // NaN if either is
  minimum,
  greater,       // 1 where a > b, else 0
  tanh_grad,     // a (1 - b^2): a the gradient that comes in, b the tanh
  sigmoid_grad,  // a b (1 - b): b the sigmoid
  relu_grad,     // a where b > 0, else 0
};

enum class Ternary : uint8_t {
  clip,   // max(min(a, c), b), NaN if any is
  where,  // b where a is not 0, else c
};

/// y[i] = f(x[i]), n elements. float: exp, log, tanh, sigmoid, softplus within 3 ulp, everything
/// else rounded once; NaN, infinities and denormals as in the exact function.
template <class T>
void unary(ThreadTeam& team, Unary f, const T* x, T* y, int64_t n) noexcept;

/// y = f(a, b), y dense in the order of the walk.
template <class T>
void binary(ThreadTeam& team, Binary f, const Broadcast& walk, const T* a, const T* b,
            T* y) noexcept;

/// y = f(a, b, c).
template <class T>
void ternary(ThreadTeam& team, Ternary f, const Broadcast& walk, const T* a, const T* b, const T* c,
             T* y) noexcept;

/// From one type to another, any of float, double, int32_t, int64_t. Floats go to integers by
/// truncation; what does not fit becomes the nearest that does, NaN becomes 0.
template <class From, class To>
void cast(ThreadTeam& team, const From* x, To* y, int64_t n) noexcept;

/// mask[i] = 1 / (1 - rate), or 0 where `random.uniform(i)` < rate; y = x mask, 0 where it is 0.
template <class T>
void dropout(ThreadTeam& team, double rate, const RandomStream& random, const T* x, T* y, T* mask,
             int64_t n) noexcept;

}  // namespace rein::kernels
