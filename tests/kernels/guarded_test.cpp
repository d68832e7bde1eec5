#include "kernels/guarded.h"

#include <gtest/gtest.h>

namespace rein::kernels {
namespace {

TEST(Guarded, TouchingTheNeighbourEndsTheProgram) {
  for (const size_t n : {0u, 1u, 1024u, 1025u}) {
    Guarded<float> end(n);
    Guarded<float, Guard::begin> begin(n);
    for (size_t i = 0; i < n; ++i) end[i] = begin[i] = 1;
    EXPECT_TRUE(end.intact() && begin.intact()) << n;
    EXPECT_DEATH(end.data()[n] = 1, "");
    EXPECT_DEATH(begin.data()[-1] = 1, "");
    EXPECT_DEATH((void)*static_cast<volatile float*>(end.data() + n), "");
    EXPECT_DEATH((void)*static_cast<volatile float*>(begin.data() - 1), "");
    end.data()[-1] = 1;
    begin.data()[n] = 1;
    EXPECT_FALSE(end.intact() || begin.intact()) << n;
  }
}

}  // namespace
}  // namespace rein::kernels
