// Softmax and cross entropies over rows of `n` logits, n > 0, and losses of single elements. T is
// float (vector code, chosen for the processor at run time) or double (plain loops). The maximum of
// a row is subtracted first, so nothing overflows. Results do not depend on the number of threads.
#pragma once

#include <cstdint>

#include "rein/base/thread_team.h"

namespace rein::kernels {

/// y = exp(x) / sum of exp(x)
template <class T>
void softmax(ThreadTeam& team, const T* x, T* y, int64_t rows, int64_t n) noexcept;

/// y = x - log(sum of exp(x))
template <class T>
void log_softmax(ThreadTeam& team, const T* x, T* y, int64_t rows, int64_t n) noexcept;

/// loss[row] = -sum over k of labels[k] log_softmax(logits)[k]; a label of 0 on a logit of
/// -infinity gives NaN.
template <class T>
void cross_entropy(ThreadTeam& team, const T* labels, const T* logits, T* loss, int64_t rows,
                   int64_t n) noexcept;

/// grad = upstream[row] (softmax(logits) - labels)
template <class T>
void cross_entropy_grad(ThreadTeam& team, const T* labels, const T* logits, const T* upstream,
                        T* grad, int64_t rows, int64_t n) noexcept;

/// loss[row] = -log_softmax(logits)[label]; NaN for a label outside [0, n).
template <class T, class Label>
void sparse_cross_entropy(ThreadTeam& team, const T* logits, const Label* labels, T* loss,
                          int64_t rows, int64_t n) noexcept;

/// grad = upstream[row] (softmax(logits) - one_hot(label)); a row of NaN for a label outside.
template <class T, class Label>
void sparse_cross_entropy_grad(ThreadTeam& team, const T* logits, const Label* labels,
                               const T* upstream, T* grad, int64_t rows, int64_t n) noexcept;

/// y[i] = max(x, 0) - x z + log(1 + exp(-|x|)) for logits x and labels z.
template <class T>
void sigmoid_cross_entropy(ThreadTeam& team, const T* labels, const T* logits, T* y,
                           int64_t n) noexcept;

/// y[i] = (a[i] - b[i])^2
template <class T>
void squared_error(ThreadTeam& team, const T* a, const T* b, T* y, int64_t n) noexcept;

/// y[i] = |a[i] - b[i]|
template <class T>
void absolute_error(ThreadTeam& team, const T* a, const T* b, T* y, int64_t n) noexcept;

}  // namespace rein::kernels
