// Variables of which each rank holds a part.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "rein/base/fields.h"
#include "rein/dist/communicator.h"

namespace rein {

/// Which variables are sharded: their norm is that of the parts of all ranks together (squares in
/// double, in the order of ranks: the same bits everywhere). All others are the same on every rank
/// and count once.
///
///     ClipByGlobalNorm{.clip_norm = 5, .shards = Shards{&ranks, {"*/kernel"}}}
struct Shards {
  Communicator* communicator = nullptr;    // that of the parts; is part of no file
  std::vector<std::string> patterns{"*"};  // of names of variables (rein/process/groups.h)

  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("patterns", self.patterns);
  }
};

/// Finds the shards among the fields of a transform or rule, and of those among its fields.
struct ShardsFinder {
  std::vector<Shards>& found;

  template <class T>
  void optional(const std::string& path, const std::optional<T>& x) const {
    if (!x) return;
    if constexpr (std::same_as<T, Shards>)
      found.push_back(*x);
    else
      visit_fields(path, *x, *this);
  }
  template <class T>
  void leaf(const std::string&, const T& x) const {
    if constexpr (requires { x.find_shards(found); }) x.find_shards(found);
  }
};

}  // namespace rein
