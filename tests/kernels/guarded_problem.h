// An LSTM whose arrays all lie against memory that cannot be touched.
#pragma once

#include "kernels/guarded.h"
#include "kernels/lstm_problem.h"

namespace rein::kernels {

template <Guard kSide>
using GuardedProblem = Problem<float, Guarded<float, kSide>>;

template <Guard kSide>
Guarded<std::byte, kSide> guarded_scratch(size_t bytes) {
  return Guarded<std::byte, kSide>(bytes, Buffer::kAlignment);
}

/// Forward and backward, each with scratch of its own, dz in place of the gates or apart from them;
/// then nothing beside an array has changed. `forward(arrays, scratch)`, `backward(arrays,
/// scratch)`.
template <Guard kSide, class Forward, class Backward>
void run_within(GuardedProblem<kSide>& p, const LstmMemory& memory, bool in_place,
                const Forward& forward, const Backward& backward) {
  p.gates = Guarded<float, kSide>(static_cast<size_t>(memory.gates));
  p.cells = Guarded<float, kSide>(static_cast<size_t>(memory.cells));
  p.dz = Guarded<float, kSide>(static_cast<size_t>(memory.gates));
  auto first = guarded_scratch<kSide>(memory.forward_scratch);
  auto second = guarded_scratch<kSide>(memory.backward_scratch);
  forward(p.forward(), first.data());
  auto arrays = p.backward();
  if (in_place) arrays.dz = p.gates.data();
  backward(arrays, second.data());
  EXPECT_TRUE(first.intact());
  EXPECT_TRUE(second.intact());
  for (const auto* a : {&p.x, &p.kernel, &p.bias, &p.h0, &p.c0, &p.d_outputs, &p.d_h, &p.d_c,
                        &p.gates, &p.cells, &p.dz})
    EXPECT_TRUE(a->intact());
  for (const auto& [name, a] : p.results()) EXPECT_TRUE(a->intact()) << name;
}

}  // namespace rein::kernels
