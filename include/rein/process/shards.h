// Variables of which each rank holds a part.
#pragma once

#include <string>
#include <vector>

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

}  // namespace rein
