// Preloaded by scripts/test_targets.sh: the program that starts sees a processor with AVX2 at most,
// or with Highway's scalar target alone, as REIN_TEST_TARGETS says.
#include <hwy/targets.h>

#include <cstdlib>
#include <string_view>

[[gnu::constructor]] static void disable_targets() {
  const char* name = std::getenv("REIN_TEST_TARGETS");
  const std::string_view most = name != nullptr ? name : "";
  if (most == "avx2")
    hwy::DisableTargets(HWY_AVX2 - 1);  // better ones have lower bits
  else if (most == "scalar")
    hwy::DisableTargets(HWY_SCALAR - 1);
  else
    std::abort();
}
