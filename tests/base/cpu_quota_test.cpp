#include "base/cpu_quota.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <string>

#include "support/temporary_folder.h"

namespace rein {
namespace {

namespace fs = std::filesystem;

// What the system shows of its control groups.
class CpuQuota : public testing::Test {
 protected:
  void write(const std::string& name, const std::string& text) {
    const fs::path path = folder_ / name;
    fs::create_directories(path.parent_path());
    test::write_bytes(path, text);
  }
  double quota() const { return cpu_quota(folder_ / "groups", folder_ / "mount"); }

 private:
  test::TemporaryFolder folder_;
};

TEST_F(CpuQuota, IsUnlimitedWhereNothingCanBeRead) {
  EXPECT_EQ(quota(), INFINITY);
  write("groups", "no group\n0::/gone\n");
  EXPECT_EQ(quota(), INFINITY);
}

TEST_F(CpuQuota, IsTheLeastOfAGroupAndThoseAboveIt) {
  write("groups", "0::/pod/box\n");
  write("mount/pod/box/cpu.max", "max 100000\n");
  EXPECT_EQ(quota(), INFINITY);
  write("mount/pod/cpu.max", "150000 100000\n");
  EXPECT_EQ(quota(), 1.5);
  write("mount/pod/box/cpu.max", "400000 100000\n");
  EXPECT_EQ(quota(), 1.5);
  write("mount/cpu.max", "50000 100000\n");
  EXPECT_EQ(quota(), 0.5);
}

TEST_F(CpuQuota, ReadsTheFirstVersionToo) {
  write("groups", "5:memory:/box\n4:cpuset:/box\n3:cpu,cpuacct:/box\n");
  write("mount/cpu/box/cpu.cfs_period_us", "100000\n");
  write("mount/cpu/box/cpu.cfs_quota_us", "-1\n");
  EXPECT_EQ(quota(), INFINITY);
  write("mount/cpu/box/cpu.cfs_quota_us", "250000\n");
  EXPECT_EQ(quota(), 2.5);
}

TEST_F(CpuQuota, SeesItsOwnContainerAsTheRoot) {
  write("groups", "0::/\n");
  write("mount/cpu.max", "200000 100000\n");
  EXPECT_EQ(quota(), 2);
}

}  // namespace
}  // namespace rein
