// Where the examples of a batch are in every value of a recorded graph.
#pragma once

#include <stdexcept>
#include <string>
#include <vector>

#include "compute/trace.h"

namespace rein {

/// Thrown where examples cannot be told apart; the text says what mixes them.
struct ExamplesMixed : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class ExampleMap {
 public:
  /// Of a function recorded for `batch` examples; axis 0 of its inputs is the example. A recording
  /// for one example more shows which constants hold a row for each of them; it is not looked at
  /// later. Throws ExamplesMixed if the two differ in more than that.
  ExampleMap(const Recorded& recorded, const Recorded& of_one_more, int64_t batch);

  int64_t batch() const { return batch_; }
  /// Also of nodes that were added to the graph since.
  Examples of(const Value& v);
  /// The first op on the way to `v` that mixes examples, with its place.
  std::string mixer_of(const Value& v);

 private:
  void add_source(const Graph::Node& node, const Graph::Node& other);
  void follow();
  void check_shape(const Graph::Node& node, const Graph::Node& other, size_t result);

  const Graph& graph_;
  int64_t batch_;
  std::vector<std::vector<Examples>> of_;  // [node][result]
};

}  // namespace rein
