#include "train/clip_examples.h"

#include <algorithm>
#include <cmath>

#include "process/l2.h"
#include "rein/compute/op.h"

namespace rein {
namespace {

struct ClipExamples {
  static constexpr std::string_view name = "clip_examples";
  static constexpr std::string_view no_gradient = "factors of examples are numbers, not functions";
  std::vector<double> limits;
  bool operator==(const ClipExamples&) const = default;

  std::vector<Spec> infer(Specs in) const {
    for (const Spec& s : in)
      require(s.shape.rank() == 1 && s.dtype == DType::float64 && s == in[0],
              "norms are float64 [batch]");
    require(limits.size() == 1 || limits.size() == in.size(), "a limit is of one norm or of all");
    return std::vector<Spec>(limits.size() + 2, in[0]);
  }
  void forward(const Run&, Ins in, Outs out) const {
    const size_t n = limits.size();
    for (int64_t e = 0; e < out[0].size(); ++e) {
      JointNorm joint;
      for (const In& norms : in) joint.add(norms.as<double>()[e]);
      const double norm = joint.value();
      double least = 1;
      for (size_t k = 0; k < n; ++k) {
        const double own = n == 1 ? norm : in[k].as<double>()[e];
        const double factor = std::isfinite(norm) ? scale_to(own, limits[k]) : 0;
        out[k].as<double>()[e] = factor;
        least = std::min(least, factor);
      }
      out[n].as<double>()[e] = least;
      out[n + 1].as<double>()[e] = norm;
    }
  }
};

}  // namespace

ClippedNorms clip_examples(const Values& norms, const std::vector<double>& limits) {
  const std::vector<Operand> operands(norms.begin(), norms.end());
  const Values all = apply_all(ClipExamples{limits}, operands, Where::here());
  const size_t n = limits.size();
  ClippedNorms clipped{.factors = {}, .least = all[n], .norms = all[n + 1]};
  for (size_t k = 0; k < norms.size(); ++k) clipped.factors.push_back(all[n == 1 ? 0 : k]);
  return clipped;
}

}  // namespace rein
