// What ranks that train together say to one another.
#pragma once

#include <cstddef>
#include <span>

namespace rein {

/// One of `size` ranks, processes or threads, that run the same program on different data. All of
/// them call the same functions in the same order, with as many numbers; each call waits for the
/// others. When one has failed or returned they must not wait for ever: a call that can no longer
/// be answered throws RankError (rein/base/error.h), after a time limit of the implementation if
/// there is no other way to know.
class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int rank() const = 0;  // from 0
  virtual int size() const = 0;

  /// Every number becomes the sum of those of all ranks, added in the order of ranks: the same bits
  /// everywhere.
  virtual void all_reduce(std::span<float> x) = 0;
  virtual void all_reduce(std::span<double> x) = 0;
  /// Everything becomes what it is on rank `root`.
  virtual void broadcast(std::span<std::byte> x, int root) = 0;
};

/// A rank on its own.
class Serial final : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  void all_reduce(std::span<float>) override {}
  void all_reduce(std::span<double>) override {}
  void broadcast(std::span<std::byte>, int) override {}
};

}  // namespace rein
