#pragma once

#include <filesystem>

namespace rein {

/// How many processors' worth of time control groups leave this process, of either version: the
/// least of `cpu.max` (or `cpu.cfs_quota_us` over `cpu.cfs_period_us`) from its own group up to
/// `mount`. Infinity without a limit, or where nothing can be read.
double cpu_quota(const std::filesystem::path& groups = "/proc/self/cgroup",
                 const std::filesystem::path& mount = "/sys/fs/cgroup");

}  // namespace rein
