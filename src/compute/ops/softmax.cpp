#include "rein/kernels/softmax.h"

#include "compute/ops/rules.h"

namespace rein {
namespace {

Spec infer_rows(const Spec& logits) {
  require_floating(logits);
  require(logits.shape.rank() > 0 && logits.shape.back() > 0, "needs at least one class");
  return logits;
}

int64_t classes(const Spec& logits) { return logits.shape.back(); }
int64_t rows(const Spec& logits) { return logits.size() / classes(logits); }

Value sum_of_rows(const Value& x) { return reduce_sum(x, {.axes = {-1}, .keepdims = true}); }

struct Softmax {
  static constexpr std::string_view name = "softmax";
  bool operator==(const Softmax&) const = default;

  Spec infer(Specs in) const { return infer_rows(in[0]); }
  void forward(const Run& run, Ins in, Outs out) const {
    const Spec& spec = *in[0].spec;
    visit_float(spec.dtype, [&](auto zero) {
      using T = decltype(zero);
      kernels::softmax(run.team, in[0].as<T>(), out[0].as<T>(), rows(spec), classes(spec));
    });
  }
  Cotangents vjp(const Backward& b) const {
    return {(b.dy() - sum_of_rows(b.dy() * b.y())) * b.y()};
  }
};

struct LogSoftmax {
  static constexpr std::string_view name = "log_softmax";
  bool operator==(const LogSoftmax&) const = default;

  Spec infer(Specs in) const { return infer_rows(in[0]); }
  void forward(const Run& run, Ins in, Outs out) const {
    const Spec& spec = *in[0].spec;
    visit_float(spec.dtype, [&](auto zero) {
      using T = decltype(zero);
      kernels::log_softmax(run.team, in[0].as<T>(), out[0].as<T>(), rows(spec), classes(spec));
    });
  }
  Cotangents vjp(const Backward& b) const { return {b.dy() - exp(b.y()) * sum_of_rows(b.dy())}; }
};

}  // namespace

Value softmax(Operand logits, Where where) { return apply(Softmax{}, {std::move(logits)}, where); }

Value log_softmax(Operand logits, Where where) {
  return apply(LogSoftmax{}, {std::move(logits)}, where);
}

}  // namespace rein
