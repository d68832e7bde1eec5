#include "rein/kernels/softmax.h"

#include "compute/ops/examples.h"
#include "compute/ops/logits.h"

namespace rein {
namespace {

struct Softmax {
  static constexpr std::string_view name = "softmax";
  bool operator==(const Softmax&) const = default;

  Spec infer(Specs in) const {
    require_logits(in[0]);
    return in[0];
  }
  std::vector<Examples> examples(const BatchQuery& b) const {
    return examples_of_rows(b, b.in[0].shape.rank() - 1, b.in[0].shape);
  }
  void forward(const Run& run, Ins in, Outs out) const {
    const Spec& spec = *in[0].spec;
    visit_float(spec.dtype, [&](auto zero) {
      using T = decltype(zero);
      kernels::softmax(run.team, in[0].as<T>(), out[0].as<T>(), rows(spec), classes(spec));
    });
  }
  Cotangents vjp(const Backward& b) const {
    return {(b.dy() - sum_of_rows(b.dy() * b.y(), true)) * b.y()};
  }
};

struct LogSoftmax {
  static constexpr std::string_view name = "log_softmax";
  bool operator==(const LogSoftmax&) const = default;

  Spec infer(Specs in) const {
    require_logits(in[0]);
    return in[0];
  }
  std::vector<Examples> examples(const BatchQuery& b) const {
    return examples_of_rows(b, b.in[0].shape.rank() - 1, b.in[0].shape);
  }
  void forward(const Run& run, Ins in, Outs out) const {
    const Spec& spec = *in[0].spec;
    visit_float(spec.dtype, [&](auto zero) {
      using T = decltype(zero);
      kernels::log_softmax(run.team, in[0].as<T>(), out[0].as<T>(), rows(spec), classes(spec));
    });
  }
  Cotangents vjp(const Backward& b) const {
    return {b.dy() - exp(b.y()) * sum_of_rows(b.dy(), true)};
  }
};

}  // namespace

Value softmax(Operand logits, Where where) { return apply(Softmax{}, {std::move(logits)}, where); }

Value log_softmax(Operand logits, Where where) {
  return apply(LogSoftmax{}, {std::move(logits)}, where);
}

}  // namespace rein
