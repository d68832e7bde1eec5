#include <gtest/gtest.h>

#include <iostream>
#include <string>

#include "kernels/each_target.h"

namespace rein::kernels {
namespace {

// For scripts/test_targets.sh, which reads what is printed.
TEST(Targets, AreThere) {
  std::string names;
  for_each_target([&](const char* name) { names += std::string(" ") + name; });
  std::cout << "targets:" << names << std::endl;
  EXPECT_FALSE(names.empty());
}

}  // namespace
}  // namespace rein::kernels
