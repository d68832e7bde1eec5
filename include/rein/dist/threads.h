// Ranks that are threads of one process.
#pragma once

#include <functional>

#include "rein/base/error.h"
#include "rein/dist/communicator.h"

namespace rein {

/// Calls `f` on `size` ranks, each a thread (rank 0 is the caller's), and waits for them.
///
///     run_ranks(2, [&](Communicator& ranks) {
///       Variables vars{Seed{1}};  // each rank has its own, the same at first
///       ...
///       Step train = record(cost, vars, process, Adam{}, {.threads = 1, .communicator = &ranks});
///       for (auto& [x, y] : batches_of(ranks.rank())) train(x, y);
///     });
///
/// When a rank throws, or returns while others wait for it, they get a RankError from the call they
/// wait in; the first error is then thrown here. Ranks that come together for different calls all
/// get InvalidArgument.
void run_ranks(int size, const std::function<void(Communicator&)>& f, Where where = Where::here());

}  // namespace rein
