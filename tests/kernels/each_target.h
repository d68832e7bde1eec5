// Runs a test on every instruction set that the library has code for and this processor runs.
#pragma once

#include "kernels/simd/targets.h"
// After it, so that only what is compiled is listed.
#include <hwy/targets.h>

namespace rein::kernels {

/// Calls `f(name)` for each target; afterwards kernels use the best one again.
template <class F>
void for_each_target(F&& f) {
  const auto choose = [](int64_t targets) {
    hwy::SetSupportedTargetsForTest(targets);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  };
  struct Restore {
    decltype(choose)& reset;
    ~Restore() { reset(0); }
  } restore{choose};
  for (int64_t target : hwy::SupportedAndGeneratedTargets()) {
    choose(target);
    f(hwy::TargetName(target));
  }
}

}  // namespace rein::kernels
