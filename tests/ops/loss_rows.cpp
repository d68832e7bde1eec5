#include "ops/battery.h"

namespace rein::test {
namespace {

Tensor labels(Shape shape, int64_t classes, DType dtype = DType::int64) {
  Tensor t(shape, DType::int64);
  int64_t i = 0;
  for (int64_t& label : t.flat<int64_t>()) label = i++ * 7 % classes;
  return t.cast(dtype);
}

// The gradient with respect to the logits is that of labels that sum to 1.
Value probabilities(const Value& x) { return softmax(x); }

}  // namespace

std::vector<OpRow> loss_rows() {
  using In = std::span<const Value>;
  return {
      {.name = "softmax", .inputs = {{3, 5}}, .build = [](In in) { return softmax(in[0]); }},
      {.name = "softmax of one axis",
       .inputs = {{7}},
       .build = [](In in) { return softmax(in[0]); }},
      {.name = "softmax of one class",
       .inputs = {{4, 1}},
       .build = [](In in) { return softmax(in[0]); }},
      {.name = "softmax of many rows",
       .inputs = {{700, 67}},
       .build = [](In in) { return softmax(in[0]); },
       .has_gradient = false},
      {.name = "log_softmax",
       .inputs = {{2, 3, 4}},
       .build = [](In in) { return log_softmax(in[0]); }},
      {.name = "log_softmax of many classes",
       .inputs = {{5, 20000}},
       .build = [](In in) { return log_softmax(in[0]); },
       .has_gradient = false},
      {.name = "softmax_cross_entropy_with_logits",
       .inputs = {{3, 5}, {3, 5}},
       .build =
           [](In in) { return softmax_cross_entropy_with_logits(probabilities(in[0]), in[1]); }},
      {.name = "softmax_cross_entropy_with_logits of three axes",
       .inputs = {{2, 3, 4}, {2, 3, 4}},
       .build =
           [](In in) { return softmax_cross_entropy_with_logits(probabilities(in[0]), in[1]); }},
      {.name = "softmax_cross_entropy_with_logits of many rows",
       .inputs = {{900, 53}, {900, 53}},
       .build =
           [](In in) { return softmax_cross_entropy_with_logits(probabilities(in[0]), in[1]); }},
      {.name = "sparse_softmax_cross_entropy_with_logits",
       .inputs = {{3, 5}},
       .build = [](In in) { return sparse_softmax_cross_entropy_with_logits(in[0], in[1]); },
       .integers = {labels({3}, 5)}},
      {.name = "sparse_softmax_cross_entropy_with_logits of int32 and three axes",
       .inputs = {{2, 3, 4}},
       .build = [](In in) { return sparse_softmax_cross_entropy_with_logits(in[0], in[1]); },
       .integers = {labels({2, 3}, 4, DType::int32)}},
      {.name = "sparse_softmax_cross_entropy_with_logits of many rows",
       .inputs = {{900, 53}},
       .build = [](In in) { return sparse_softmax_cross_entropy_with_logits(in[0], in[1]); },
       .integers = {labels({900}, 53)}},
      {.name = "sigmoid_cross_entropy_with_logits",
       .inputs = {{3, 5}, {3, 5}},
       .build = [](In in) { return sigmoid_cross_entropy_with_logits(in[0], in[1]); }},
      {.name = "sigmoid_cross_entropy_with_logits of many",
       .inputs = {{50003}, {50003}},
       .build = [](In in) { return sigmoid_cross_entropy_with_logits(in[0], in[1]); },
       .has_gradient = false},
      {.name = "squared_error",
       .inputs = {{3, 5}, {3, 5}},
       .build = [](In in) { return squared_error(in[0], in[1]); }},
      {.name = "squared_error of many",
       .inputs = {{3, 70001}, {3, 70001}},
       .build = [](In in) { return squared_error(in[0], in[1]); },
       .has_gradient = false},
      {.name = "absolute_error",
       .inputs = {{3, 5}, {3, 5}},
       .build = [](In in) { return absolute_error(in[0], in[1]); },
       // Away from the kink where both are equal.
       .map = [](size_t input, double x) { return x + (input == 0 ? 10 : 0); }},
  };
}

}  // namespace rein::test
