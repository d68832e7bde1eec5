// The test program, started again with other settings of OpenMP, which are read when it starts.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace rein::test {

/// Under some of them OpenMP delivers fewer threads than it announces.
inline constexpr const char* kOpenMpSettings[] = {
    "OMP_NUM_THREADS=1",  "OMP_NUM_THREADS=8",
    "OMP_THREAD_LIMIT=1", "OMP_THREAD_LIMIT=1 OMP_NUM_THREADS=8",
    "OMP_DYNAMIC=true",   "OMP_DYNAMIC=true OMP_NUM_THREADS=8"};

inline constexpr const char* kResultFile = "REIN_TEST_RESULT_FILE";

/// Where the started program writes its result; null in the program that starts others.
inline const char* result_file() { return std::getenv(kResultFile); }

/// What `test` of this program writes to `result_file()` when started under `settings`.
inline std::string result_under(const std::string& settings, const std::string& test) {
  const std::string program = std::filesystem::read_symlink("/proc/self/exe");
  const std::string path = testing::TempDir() + "rein_result_" + std::to_string(getpid());
  const std::string command = "env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT -u OMP_DYNAMIC " +
                              settings + " " + kResultFile + "='" + path + "' '" + program +
                              "' --gtest_filter='" + test + "' > /dev/null";
  EXPECT_EQ(std::system(command.c_str()), 0) << command;
  std::ifstream file(path, std::ios::binary);
  std::string bytes(std::istreambuf_iterator<char>(file), {});
  std::filesystem::remove(path);
  return bytes;
}

}  // namespace rein::test
