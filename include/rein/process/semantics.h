// Whose formula a clip computes where systems differ.
#pragma once

#include <cstdint>
#include <string_view>

namespace rein {

/// The default is good sense; the others reproduce a library's numbers: its formula in the
/// gradient's own type and in its order, edge cases included (docs/gradient-processing.md). In all
/// of them absent gradients stay absent, in their place, and sparse ones stay sparse.
enum class Semantics : uint8_t {
  /// Norms are accumulated in double (1e20 does not overflow, 1e-25 does not vanish), duplicate
  /// rows
  /// of sparse gradients are added up before any norm, nothing changes a bit when nothing is
  /// clipped, a gradient whose norm is not finite is left alone, thresholds are checked: negative
  /// or
  /// NaN throws, infinity only measures.
  safe,
  /// TensorFlow 2.21: python/ops/clip_ops.py.
  tensorflow,
  /// Keras 3.15: optimizers' clipnorm, global_clipnorm, clipvalue. TensorFlow's formulas, but a
  /// threshold that is not above 0 switches the clip off.
  keras,
  /// PyTorch 2.6: torch.nn.utils.clip_grad_norm_ and its kin. 1e-6 is added to the norm, of any
  /// order.
  pytorch,
  /// Optax 0.2.8: compares first, so that nothing changes when nothing is clipped; g / norm *
  /// limit.
  optax
};

std::string_view to_string(Semantics semantics);

}  // namespace rein
