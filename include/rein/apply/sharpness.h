// Gradients from a worse place nearby: sharpness-aware minimization.
#pragma once

#include "rein/base/memory.h"
#include "rein/base/thread_team.h"
#include "rein/process/norms.h"

namespace rein {

/// The gradient g of a step is replaced by that at w + e, where the loss is higher:
///
///     e = rho g / |g|            (SAM: Foret et al., 2021)
///     e = rho t^2 g / |t g|      if adaptive (ASAM: Kwon et al., 2021), element by element, with
///                                t = abs(w) + eta (the paper's experiments take eta = 0.01)
///
/// |.| is the L2 norm over all variables. Where it is 0 or not finite, e is 0.
struct Sharpness {
  double rho = 0.05;
  bool adaptive = false;
  double eta = 0;  // how far weights that are 0 move

  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("rho", self.rho);
    f("adaptive", self.adaptive);
    f("eta", self.eta);
  }
};

/// Moves parameters for the time of one gradient.
class Ascent {
 public:
  explicit Ascent(const Variables& variables);

  /// w += e. Gradients are used up: they are not what they were.
  void climb(Variables& variables, Gradients& gradients, const Sharpness& sharpness);
  /// Puts the parameters back, to the bit.
  void descend(Variables& variables) const noexcept;

 private:
  Buffer own_;
  Norms norms_;
};

}  // namespace rein
