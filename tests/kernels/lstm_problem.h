// The LSTM with all its arrays, random and the same for every type of number and of array.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <ostream>
#include <utility>
#include <vector>

#include "rein/base/memory.h"
#include "rein/base/random.h"
#include "rein/kernels/lstm.h"

namespace rein::kernels {

// How gtest names a case.
inline void PrintTo(const LstmSizes& s, std::ostream* out) {
  *out << "T" << s.steps << " B" << s.batch << " I" << s.inputs << " H" << s.units;
}

// Everything that goes in and comes out of both passes.
template <class T, class Array = std::vector<T>>
struct Problem {
  LstmSizes s;
  Array x, kernel, bias, h0, c0, d_outputs, d_h, d_c;
  Array outputs, c, gates, cells, dz, dx, dkernel, dbias, dh0, dc0;

  explicit Problem(const LstmSizes& sizes, double weight = 0.3) : s(sizes) {
    const int64_t state = s.batch * s.units, sequence = s.steps * state, width = 4 * s.units;
    uint64_t stream = 0;
    constexpr double kRootOf3 = 1.7320508;
    const auto draw = [&](int64_t n, double size) {
      const RandomStream random(Seed{5}, stream++);
      Array a(static_cast<size_t>(n));
      // float32 numbers in both types, of variance size^2
      for (size_t i = 0; i < a.size(); ++i)
        a[i] = static_cast<T>(static_cast<float>(size * kRootOf3 * (2 * random.uniform(i) - 1)));
      return a;
    };
    const auto unset = [&](int64_t n) {
      Array a(static_cast<size_t>(n));
      std::fill_n(a.data(), a.size(), std::numeric_limits<T>::quiet_NaN());
      return a;
    };
    x = draw(s.steps * s.batch * s.inputs, 1), kernel = draw((s.inputs + s.units) * width, weight);
    bias = draw(width, weight), h0 = draw(state, 1), c0 = draw(state, 1);
    d_outputs = draw(sequence, 1), d_h = draw(state, 1), d_c = draw(state, 1);
    const LstmMemory memory = lstm_memory<T>(s);
    outputs = unset(sequence), c = unset(state);
    gates = unset(memory.gates), cells = unset(memory.cells);
    dz = unset(memory.gates);
    dx = unset(s.steps * s.batch * s.inputs), dkernel = unset((s.inputs + s.units) * width);
    dbias = unset(width), dh0 = unset(state), dc0 = unset(state);
  }

  LstmForward<T> forward() {
    return {.x = x.data(),
            .kernel = kernel.data(),
            .bias = bias.data(),
            .h0 = h0.data(),
            .c0 = c0.data(),
            .forget_bias = 1,
            .outputs = outputs.data(),
            .c = c.data(),
            .gates = gates.data(),
            .cells = cells.data()};
  }
  LstmBackward<T> backward() {
    return {.x = x.data(),
            .kernel = kernel.data(),
            .h0 = h0.data(),
            .c0 = c0.data(),
            .outputs = outputs.data(),
            .gates = gates.data(),
            .cells = cells.data(),
            .d_outputs = d_outputs.data(),
            .d_h = d_h.data(),
            .d_c = d_c.data(),
            .dz = dz.data(),
            .dx = dx.data(),
            .dkernel = dkernel.data(),
            .dbias = dbias.data(),
            .dh0 = dh0.data(),
            .dc0 = dc0.data()};
  }
  std::vector<std::pair<const char*, const Array*>> results() const {
    return {{"outputs", &outputs}, {"c", &c},     {"dx", &dx},  {"dkernel", &dkernel},
            {"dbias", &dbias},     {"dh0", &dh0}, {"dc0", &dc0}};
  }
};

template <class T, class Array>
void run(Problem<T, Array>& p, const LstmForward<T>& forward, const LstmBackward<T>& backward,
         int threads = 1) {
  ThreadTeam team(threads);
  const LstmMemory memory = lstm_memory<T>(p.s);
  Buffer scratch(std::max(memory.forward_scratch, memory.backward_scratch));
  // NaN: what is read must have been written.
  const auto spoil = [&] { std::fill_n(scratch.data(), scratch.size(), std::byte{0xff}); };
  spoil();
  lstm_forward(team, p.s, forward, scratch.data());
  spoil();
  lstm_backward(team, p.s, backward, scratch.data());
}
template <class T, class Array>
void run(Problem<T, Array>& p, const LstmBackward<T>& backward, int threads = 1) {
  run(p, p.forward(), backward, threads);
}

// Differences over the largest number of the array. Every number is a sum of products of factors
// at most as large, so roundings add up like a walk of (steps x units) of them; 64 times the
// epsilon of float32 leaves room for all sizes here, and a wrong term is a thousand times larger.
inline constexpr double kRounding = 64 * static_cast<double>(std::numeric_limits<float>::epsilon());

template <class Array>
double difference(const Array& a, const std::vector<double>& b) {
  double worst = 0, size = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::isnan(a[i])) return std::numeric_limits<double>::infinity();
    worst = std::max(worst, std::abs(static_cast<double>(a[i]) - b[i]));
    size = std::max(size, std::abs(b[i]));
  }
  return size == 0 ? worst : worst / size;
}

template <class Array>
void expect_same(const Problem<float, Array>& got, const Problem<double>& want) {
  const auto g = got.results();
  const auto w = want.results();
  for (size_t i = 0; i < g.size(); ++i)
    EXPECT_LE(difference(*g[i].second, *w[i].second), kRounding) << g[i].first;
}

}  // namespace rein::kernels
