// Products under the OpenMP settings in which the library behind them, asked for several threads,
// silently leaves parts of the result unwritten. OpenMP reads its settings when a program starts,
// so this one starts itself again.
#include <gtest/gtest.h>

#include <fstream>
#include <vector>

#include "rein/base/random.h"
#include "rein/kernels/gemm.h"
#include "support/started_again.h"

namespace rein::kernels {
namespace {

// Products that OpenMP would share, of 1 and of 2 threads, as bytes of a file.
constexpr int64_t kRows = 128, kColumns = 512, kInner = 300;
constexpr size_t kProducts = 2 * 2 * 2;

void write_products(const std::string& path) {
  const RandomStream random(Seed{1}, 0);
  std::vector<float> a(kRows * kInner), b(kInner * kColumns), c(kRows * kColumns);
  for (size_t i = 0; i < a.size(); ++i) a[i] = static_cast<float>(random.normal(i));
  for (size_t i = 0; i < b.size(); ++i) b[i] = static_cast<float>(random.normal(a.size() + i));
  std::vector<std::byte> scratch(gemm_scratch_bytes<float>(Trans::yes, kRows, kColumns, kInner));
  std::ofstream file(path, std::ios::binary);
  for (int threads : {1, 2}) {
    ThreadTeam team(threads);
    ASSERT_TRUE(gemm_self_test(team));
    for (Trans ta : {Trans::no, Trans::yes})
      for (Trans tb : {Trans::no, Trans::yes}) {
        gemm<float>(team, ta, tb, kRows, kColumns, kInner, a.data(),
                    ta == Trans::yes ? kRows : kInner, b.data(),
                    tb == Trans::yes ? kInner : kColumns, 0, c.data(), kColumns, scratch.data());
        file.write(reinterpret_cast<const char*>(c.data()),
                   static_cast<std::streamsize>(c.size() * sizeof(float)));
      }
  }
  ASSERT_TRUE(file.good());
}

TEST(GemmUnderOpenMp, AsTheProgramThatWasStarted) {
  if (!test::result_file()) GTEST_SKIP() << "runs in programs that the other test starts";
  write_products(test::result_file());
}

TEST(GemmUnderOpenMp, SettingsOfTheEnvironmentDoNotChangeABit) {
  if (test::result_file()) GTEST_SKIP();
  const auto result = [](const char* settings) {
    return test::result_under(settings, "GemmUnderOpenMp.AsTheProgramThatWasStarted");
  };
  const std::string unset = result("");
  ASSERT_EQ(unset.size(), kProducts * kRows * kColumns * sizeof(float));
  for (const char* settings : test::kOpenMpSettings)
    EXPECT_TRUE(result(settings) == unset) << settings;
}

}  // namespace
}  // namespace rein::kernels
