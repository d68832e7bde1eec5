// Products under the OpenMP settings in which the library behind them, asked for several threads,
// silently leaves parts of the result unwritten. OpenMP reads its settings when a program starts,
// so this one starts itself again.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "rein/base/random.h"
#include "rein/kernels/gemm.h"

namespace rein::kernels {
namespace {

constexpr const char* kResultFile = "REIN_TEST_PRODUCT_FILE";

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
  const char* path = std::getenv(kResultFile);
  if (!path) GTEST_SKIP() << "runs in programs that the other test starts";
  write_products(path);
}

TEST(GemmUnderOpenMp, SettingsOfTheEnvironmentDoNotChangeABit) {
  if (std::getenv(kResultFile)) GTEST_SKIP();
  const std::string program = std::filesystem::read_symlink("/proc/self/exe");
  std::vector<char> first;
  for (const char* setting :
       {"", "OMP_NUM_THREADS=1", "OMP_NUM_THREADS=4", "OMP_THREAD_LIMIT=1",
        "OMP_THREAD_LIMIT=1 OMP_NUM_THREADS=4", "OMP_DYNAMIC=true OMP_NUM_THREADS=4"}) {
    const std::string path = testing::TempDir() + "rein_products_" + std::to_string(getpid());
    const std::string command = "env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT -u OMP_DYNAMIC " +
                                std::string(setting) + " " + kResultFile + "='" + path + "' '" +
                                program + "' --gtest_filter='GemmUnderOpenMp.As*' > /dev/null";
    ASSERT_EQ(std::system(command.c_str()), 0) << setting;
    std::ifstream file(path, std::ios::binary);
    const std::vector<char> bytes(std::istreambuf_iterator<char>(file), {});
    std::filesystem::remove(path);
    ASSERT_EQ(bytes.size(), kProducts * kRows * kColumns * sizeof(float));
    if (first.empty()) first = bytes;
    EXPECT_TRUE(bytes == first) << setting;
  }
}

}  // namespace
}  // namespace rein::kernels
