// Where a number that is not finite came from.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "rein/base/error.h"
#include "rein/base/shape.h"

namespace rein {

/// A place inside an op that goes through a sequence.
struct SequencePlace {
  std::string_view gate;  // of an LSTM: i, j, f, o, or c for the cell
  int64_t step = 0, example = 0, unit = 0;
};

/// The first op of a run with a result that is not finite, though its arguments may be: forward
/// ops come first, in the order of the program, then those that make gradients.
struct NonFiniteOrigin {
  enum class Pass : uint8_t { input, variable, forward, backward } pass = Pass::forward;
  std::string op;  // its name; or the input's number, or the variable's name
  // Backward: the op of the program of whose gradient it is a part, or the variable (in quotes).
  std::string gradient_of;
  std::string layer;  // scope of a variable that the op reads: `rnn_1` of `rnn_1/kernel`
  Where where{};      // the call in the program that made it, or the op that it is the gradient of
  bool in_sequence = false;
  SequencePlace place{};       // if in a sequence
  std::string result;          // the spec of the result
  std::vector<int64_t> index;  // in it, where it is not in a sequence
  double value = 0;
  std::vector<std::string> bad_variables;  // that are not finite themselves

  /// In one sentence: `forward, op lstm of layer 'rnn_1' (model.cpp:12): gate f is nan at time step
  /// 17, example 5, unit 3`.
  std::string text() const;
};

}  // namespace rein
