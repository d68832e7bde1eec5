#include "train/clip_examples.h"

#include <cmath>

#include "process/l2.h"
#include "rein/compute/op.h"

namespace rein {
namespace {

struct ClipExamples {
  static constexpr std::string_view name = "clip_examples";
  static constexpr std::string_view no_gradient = "factors of examples are numbers, not functions";
  double clip_norm = 1;
  bool operator==(const ClipExamples&) const = default;

  std::vector<Spec> infer(Specs in) const {
    for (const Spec& s : in)
      require(s.shape.rank() == 1 && s.dtype == DType::float64 && s == in[0],
              "norms are float64 [batch]");
    return {in[0], in[0]};
  }
  void forward(const Run&, Ins in, Outs out) const {
    for (int64_t e = 0; e < out[0].size(); ++e) {
      JointNorm joint;
      for (const In& norms : in) joint.add(norms.as<double>()[e]);
      const double norm = joint.value();
      out[0].as<double>()[e] = std::isfinite(norm) ? scale_to(norm, clip_norm) : 0;
      out[1].as<double>()[e] = norm;
    }
  }
};

}  // namespace

ClippedNorms clip_examples(const Values& norms, double clip_norm) {
  const std::vector<Operand> operands(norms.begin(), norms.end());
  const Values all = apply_all(ClipExamples{clip_norm}, operands, Where::here());
  return {all[0], all[1]};
}

}  // namespace rein
