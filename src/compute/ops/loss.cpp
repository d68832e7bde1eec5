#include "compute/ops/examples.h"
#include "compute/ops/logits.h"
#include "rein/kernels/softmax.h"

namespace rein {
namespace {

// ---------------------------------------------------------------- cross entropy of a softmax

// One number a row.
Spec infer_loss(const Spec& logits) {
  require_logits(logits);
  return {Shape(logits.shape.dims().first(static_cast<size_t>(logits.shape.rank() - 1))),
          logits.dtype};
}

std::vector<Examples> examples_of_losses(const BatchQuery& b, const Spec& loss) {
  return examples_of_rows(b, loss.shape.rank(), loss.shape);
}

Spec infer_dense(const Spec& labels, const Spec& logits) {
  require_same_dtype(labels, logits);
  require(labels.shape == logits.shape, "labels and logits need the same shape");
  return infer_loss(logits);
}

Spec infer_sparse(const Spec& logits, const Spec& labels) {
  require_integer(labels);
  const Spec loss = infer_loss(logits);
  require(labels.shape == loss.shape, "labels need the shape of logits without its last axis");
  return loss;
}

// Calls `f` with zeros of the types of the logits and of the labels.
template <class F>
void visit_logits_and_labels(DType logits, DType labels, F&& f) {
  visit_float(logits, [&](auto x) {
    if (labels == DType::int64)
      f(x, int64_t{});
    else
      f(x, int32_t{});
  });
}

Value as_column(const Value& x) {
  Shape shape = x.shape();
  shape.push_back(1);
  return reshape(x, shape);
}

// How dy flows back through upstream (p - labels), p = softmax(logits), to all three.
Cotangents through_grad(const Value& labels, const Value& logits, const Value& upstream,
                        const Value& dy) {
  const Value p = softmax(logits), factor = as_column(upstream), dp = dy * p;
  return {-(dy * factor), factor * (dp - p * sum_of_rows(dp, true)),
          sum_of_rows(dy * (p - labels), false)};
}

struct CrossEntropyGrad {  // labels, logits, upstream
  static constexpr std::string_view name = "softmax_cross_entropy_grad";
  bool operator==(const CrossEntropyGrad&) const = default;
  bool may_overwrite(size_t argument) const { return argument == 1; }

  Spec infer(Specs in) const { return in[1]; }
  std::vector<Examples> examples(const BatchQuery& b) const {
    return examples_of_rows(b, b.in[1].shape.rank() - 1, b.in[1].shape);
  }
  void forward(const Run& run, Ins in, Outs out) const {
    const Spec& logits = *in[1].spec;
    visit_float(logits.dtype, [&](auto zero) {
      using T = decltype(zero);
      kernels::cross_entropy_grad(run.team, in[0].as<T>(), in[1].as<T>(), in[2].as<T>(),
                                  out[0].as<T>(), rows(logits), classes(logits));
    });
  }
  Cotangents vjp(const Backward& b) const {
    return through_grad(b.in[0], b.in[1], b.in[2], b.dy());
  }
};

struct CrossEntropy {  // labels, logits
  static constexpr std::string_view name = "softmax_cross_entropy_with_logits";
  bool operator==(const CrossEntropy&) const = default;

  Spec infer(Specs in) const { return infer_dense(in[0], in[1]); }
  std::vector<Examples> examples(const BatchQuery& b) const {
    return examples_of_losses(b, infer(b.in));
  }
  void forward(const Run& run, Ins in, Outs out) const {
    const Spec& logits = *in[1].spec;
    visit_float(logits.dtype, [&](auto zero) {
      using T = decltype(zero);
      kernels::cross_entropy(run.team, in[0].as<T>(), in[1].as<T>(), out[0].as<T>(), rows(logits),
                             classes(logits));
    });
  }
  Cotangents vjp(const Backward& b) const {
    return {-(log_softmax(b.in[1]) * as_column(b.dy())),
            apply(CrossEntropyGrad{}, {b.in[0], b.in[1], b.dy()}, Where::here())};
  }
};

struct SparseCrossEntropyGrad {  // logits, labels, upstream
  static constexpr std::string_view name = "sparse_softmax_cross_entropy_grad";
  bool operator==(const SparseCrossEntropyGrad&) const = default;
  bool may_overwrite(size_t argument) const { return argument == 0; }

  Spec infer(Specs in) const { return in[0]; }
  std::vector<Examples> examples(const BatchQuery& b) const {
    return examples_of_rows(b, b.in[0].shape.rank() - 1, b.in[0].shape);
  }
  void forward(const Run& run, Ins in, Outs out) const {
    const Spec& logits = *in[0].spec;
    visit_logits_and_labels(logits.dtype, in[1].dtype(), [&](auto x, auto label) {
      using T = decltype(x);
      using Label = decltype(label);
      kernels::sparse_cross_entropy_grad(run.team, in[0].as<T>(), in[1].as<Label>(), in[2].as<T>(),
                                         out[0].as<T>(), rows(logits), classes(logits));
    });
  }
  Cotangents vjp(const Backward& b) const {
    const Value dense = one_hot(b.in[1], classes(b.in[0].spec()), b.in[0].dtype());
    const Cotangents d = through_grad(dense, b.in[0], b.in[2], b.dy());
    return {d[1], {}, d[2]};
  }
};

struct SparseCrossEntropy {  // logits, labels
  static constexpr std::string_view name = "sparse_softmax_cross_entropy_with_logits";
  bool operator==(const SparseCrossEntropy&) const = default;

  Spec infer(Specs in) const { return infer_sparse(in[0], in[1]); }
  std::vector<Examples> examples(const BatchQuery& b) const {
    return examples_of_losses(b, infer(b.in));
  }
  void forward(const Run& run, Ins in, Outs out) const {
    const Spec& logits = *in[0].spec;
    visit_logits_and_labels(logits.dtype, in[1].dtype(), [&](auto x, auto label) {
      using T = decltype(x);
      using Label = decltype(label);
      kernels::sparse_cross_entropy(run.team, in[0].as<T>(), in[1].as<Label>(), out[0].as<T>(),
                                    rows(logits), classes(logits));
    });
  }
  Cotangents vjp(const Backward& b) const {
    return {apply(SparseCrossEntropyGrad{}, {b.in[0], b.in[1], b.dy()}, Where::here()), {}};
  }
};

// ---------------------------------------------------------------- elementwise

Spec infer_same(Specs in) {
  require_floating(in[0]);
  require_same_dtype(in[0], in[1]);
  require(in[0].shape == in[1].shape, "both need the same shape");
  return in[0];
}

template <class Kernel>
void forward_same(const Run& run, Ins in, Outs out, Kernel kernel) {
  visit_float(in[0].dtype(), [&](auto zero) {
    using T = decltype(zero);
    kernel(run.team, in[0].as<T>(), in[1].as<T>(), out[0].as<T>(), out[0].size());
  });
}

struct SigmoidCrossEntropy {  // labels, logits
  static constexpr std::string_view name = "sigmoid_cross_entropy_with_logits";
  bool operator==(const SigmoidCrossEntropy&) const = default;

  Spec infer(Specs in) const { return infer_same(in); }
  std::vector<Examples> examples(const BatchQuery& b) const {
    return examples_of_elements(b, b.in[0].shape);
  }
  void forward(const Run& run, Ins in, Outs out) const {
    forward_same(run, in, out, [](auto&&... args) { kernels::sigmoid_cross_entropy(args...); });
  }
  Cotangents vjp(const Backward& b) const {
    return {-(b.dy() * b.in[1]), b.dy() * (sigmoid(b.in[1]) - b.in[0])};
  }
};

struct SquaredError {
  static constexpr std::string_view name = "squared_error";
  bool operator==(const SquaredError&) const = default;

  Spec infer(Specs in) const { return infer_same(in); }
  std::vector<Examples> examples(const BatchQuery& b) const {
    return examples_of_elements(b, b.in[0].shape);
  }
  void forward(const Run& run, Ins in, Outs out) const {
    forward_same(run, in, out, [](auto&&... args) { kernels::squared_error(args...); });
  }
  Cotangents vjp(const Backward& b) const {
    const Value d = b.dy() * 2.0 * (b.in[0] - b.in[1]);
    return {d, -d};
  }
};

struct AbsoluteError {
  static constexpr std::string_view name = "absolute_error";
  bool operator==(const AbsoluteError&) const = default;

  Spec infer(Specs in) const { return infer_same(in); }
  std::vector<Examples> examples(const BatchQuery& b) const {
    return examples_of_elements(b, b.in[0].shape);
  }
  void forward(const Run& run, Ins in, Outs out) const {
    forward_same(run, in, out, [](auto&&... args) { kernels::absolute_error(args...); });
  }
  Cotangents vjp(const Backward& b) const {
    const Value d = b.dy() * sign(b.in[0] - b.in[1]);
    return {d, -d};
  }
};

}  // namespace

Value softmax_cross_entropy_with_logits(Operand labels, Operand logits, Where where) {
  return apply(CrossEntropy{}, {std::move(labels), std::move(logits)}, where);
}

Value sparse_softmax_cross_entropy_with_logits(Operand logits, Operand labels, Where where) {
  return apply(SparseCrossEntropy{}, {std::move(logits), std::move(labels)}, where);
}

Value sigmoid_cross_entropy_with_logits(Operand labels, Operand logits, Where where) {
  return apply(SigmoidCrossEntropy{}, {std::move(labels), std::move(logits)}, where);
}

Value squared_error(Operand labels, Operand predictions, Where where) {
  return apply(SquaredError{}, {std::move(labels), std::move(predictions)}, where);
}

Value absolute_error(Operand labels, Operand predictions, Where where) {
  return apply(AbsoluteError{}, {std::move(labels), std::move(predictions)}, where);
}

}  // namespace rein
