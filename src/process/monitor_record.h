// What a Monitor remembers.
#pragma once

#include <algorithm>
#include <span>

#include "rein/base/memory.h"
#include "rein/process/monitor.h"
#include "rein/process/norms.h"

namespace rein {

/// The newest numbers of several series that grow together, in memory that does not.
class Rings {
 public:
  Rings() = default;
  Rings(size_t series, size_t length) : numbers_(series * length), length_(length) {}

  /// A place for one more number of each series, in place of the oldest ones.
  void advance() {
    newest_ = count_ == 0 ? 0 : (newest_ + 1) % length_;
    count_ = std::min(count_ + 1, length_);
  }
  double& newest(size_t series) { return numbers_[series * length_ + newest_]; }
  /// Of series `series` the number `age` places before the newest.
  double at(size_t series, size_t age) const {
    return numbers_[series * length_ + (newest_ + length_ - age) % length_];
  }
  size_t count() const { return count_; }
  /// Those there are, in some order.
  std::span<const double> of(size_t series) const {
    return std::span(numbers_).subspan(series * length_, count_);
  }

 private:
  std::vector<double> numbers_;
  size_t length_ = 0, newest_ = 0, count_ = 0;
};

struct Monitor::Record {
  explicit Record(MonitorOptions o) : options(o) {}

  /// Forgets everything and gets room for these variables.
  void begin(const Variables& variables);
  /// One more step: `before` and `after` hold its norms.
  void remember(const StepInfo& info, bool clipped, bool scaled);
  /// Copies the parameters, or compares them with the copy.
  void copy(const Variables& variables, ThreadTeam* team);
  void compare(const Variables& variables, ThreadTeam* team);

  MonitorOptions options;
  std::vector<std::string> names;
  int64_t begun = 0;  // how often: the newest step alone may go on
  int64_t steps = 0;

  Norms before;  // of this step: of each variable, as the first transform took them
  Norms after;   // and afterwards: taken here, where the first do not tell

  enum Of : size_t {
    kBefore,
    kAfter,
    kClipped,
    kBent,  // by a clip: not all multiplied by one factor
    kSkipped,
    kNonFinite,
    kWhere,  // the variable that was not finite, from 1 on; 0: none
    kOfStep
  };
  Rings of_steps;             // those
  Rings befores, afters;      // a series for each variable
  Rings updates;              // the same, of comparisons
  Buffer parameters;          // as they were in step `copied`
  int64_t copied = 0;         // 0: none is waiting
  int64_t compared = 0;       // the newest step that was
  std::vector<double> moved;  // of blocks: norms of differences ...
  std::vector<double> stood;  // ... and of what they started from
  std::optional<SequenceReport> sequence;
  int64_t sequence_step = 0;
};

}  // namespace rein
