#include <sched.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>
#include <thread>

#include "base/cpu_quota.h"
#include "rein/base/thread_team.h"

namespace rein {
namespace {

namespace fs = std::filesystem;

constexpr double kUnlimited = std::numeric_limits<double>::infinity();

// Microseconds of processor time in each period. "max" and -1 are no limit.
double ratio(std::istream& in) {
  double quota = 0, period = 0;
  return in >> quota >> period && quota > 0 && period > 0 ? quota / period : kUnlimited;
}

double quota_of_group(const fs::path& group) {
  std::ifstream second(group / "cpu.max");
  if (second) return ratio(second);
  std::ifstream quota(group / "cpu.cfs_quota_us"), period(group / "cpu.cfs_period_us");
  std::stringstream both;
  both << quota.rdbuf() << ' ' << period.rdbuf();
  return ratio(both);
}

}  // namespace

double cpu_quota(const fs::path& groups, const fs::path& mount) {
  double least = kUnlimited;
  std::ifstream in(groups);
  // hierarchy:controllers:/path, where version 2 has no controllers
  for (std::string line; std::getline(in, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const bool one = ("," + controllers + ",").find(",cpu,") != std::string::npos;
    if (!one && !controllers.empty()) continue;
    const fs::path root = one ? mount / "cpu" : mount;
    for (fs::path path = fs::path(line.substr(second + 1)).relative_path();;
         path = path.parent_path()) {
      least = std::min(least, quota_of_group(root / path));
      if (path.empty()) break;
    }
  }
  return least;
}

int usable_threads() {
  cpu_set_t set;
  CPU_ZERO(&set);
  const int processors = sched_getaffinity(0, sizeof set, &set) == 0
                             ? CPU_COUNT(&set)
                             : static_cast<int>(std::thread::hardware_concurrency());
  // Rounded down: threads that wait for each other all stop when time has run out.
  return std::max(1, static_cast<int>(std::min<double>(processors, cpu_quota())));
}

}  // namespace rein
