#include "battery.h"
#include "compute/ops/example_sums.h"
#include "train/clip_examples.h"

namespace rein::test {
namespace {

using In = std::span<const Value>;

OpRow row_of(std::string name, std::vector<Shape> inputs, std::function<Value(In)> build) {
  return {.name = std::move(name),
          .inputs = std::move(inputs),
          .build = std::move(build),
          .has_gradient = false};
}

Value factors(const Value& x) { return cast(x, DType::float64); }

}  // namespace

std::vector<OpRow> example_rows() {
  OpRow with_indices = row_of("example_row_norms", {{60, 3}},
                              [](In in) { return example_row_norms(in[1], in[0], 5, 6); });
  std::vector<int64_t> indices(60);
  for (size_t i = 0; i < indices.size(); ++i) indices[i] = static_cast<int64_t>(i * i % 7);
  with_indices.integers = {Tensor::copy_of<int64_t>({60}, indices)};
  return {
      row_of("example_norms of single rows", {{40, 3}, {40, 5}},
             [](In in) {
               return example_norms({{in[0], in[1]}}, 40);
             }),
      row_of("example_norms by rows", {{40, 30}, {40, 50}},
             [](In in) {
               return example_norms({{in[0], in[1], 2}}, 20);
             }),
      row_of("example_norms by products", {{400, 3}, {400, 300}},
             [](In in) {
               return example_norms({{in[0], in[1]}}, 20);
             }),
      row_of("example_norms of columns", {{20, 7}}, [](In in) { return example_norms(in[0]); }),
      with_indices,
      row_of("scale_examples", {{30, 2000}, {5}},
             [](In in) { return scale_examples(in[0], factors(in[1]), 1000); }),
      row_of("example_product", {{60, 40}, {60, 30}, {5}},
             [](In in) {
               return example_product({in[0], in[1], 2}, factors(in[2]));
             }),
      row_of("clip_examples", {{7}, {7}},
             [](In in) {
               return clip_examples({factors(square(in[0])), factors(square(in[1]))}, {0.5})
                   .factors[0];
             }),
      row_of("lstm_rows", {{3 * 5 * 4 * 16}, {3, 5, 2}, {5, 16}},
             [](In in) { return lstm_rows(in[0], in[1], in[2]); }),
  };
}

}  // namespace rein::test
