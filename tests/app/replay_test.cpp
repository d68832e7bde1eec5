// What was planted in a bundle is named by another process.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <limits>
#include <map>

#include "app/program.h"
#include "rein/base/random.h"
#include "rein/io/safetensors.h"
#include "rein/kernels/precision.h"

namespace rein::test {
namespace {

// A bundle of six images and a network of two units, edited by the test: the first two columns of
// an image are the two inputs of the LSTM, +1 and 1 but at time step 17 of example 5.
class Replay : public testing::Test {
 protected:
  static constexpr size_t kRows = 28, kStep = 17, kExample = 5;

  void SetUp() override { diverge({}); }
  void diverge(const std::vector<std::string>& more) {
    const std::vector<std::string> usual{"--clip",   "none", "--learning-rate", "1e38",
                                         "--hidden", "2",    "--batch-size",    "6",
                                         "--out",    "r",    "--force"};
    const Finished trained = train(folder, with_last(usual, more));
    ASSERT_EQ(trained.code, 4) << trained.err;
    bundle = read_safetensors(folder / "r/diverged.safetensors");
    for (const auto& [name, tensor] : bundle.tensors)
      if (name.starts_with("state/parameters/") || name == "bundle/inputs/0")
        std::ranges::fill(numbers(name), 0.0f);
    std::ranges::fill(at("bundle/inputs/1").flat<int32_t>(), 0);
    numbers("state/parameters/hidden/weights")[0] = 1;  // column 0 -> x0
    numbers("state/parameters/hidden/weights")[3] = 1;  // column 1 -> x1
    for (size_t b = 0; b < 6; ++b)
      for (size_t t = 0; t < kRows; ++t) {
        pixel(b, t, 0) = 1;
        pixel(b, t, 1) = b == kExample && t == kStep ? 0.0f : 1.0f;
      }
  }
  Tensor at(std::string_view name) {
    return std::ranges::find(bundle.tensors, name, &NamedTensor::name)->tensor;
  }
  std::span<float> numbers(std::string_view name) { return at(name).flat<float>(); }
  float& pixel(size_t example, size_t row, size_t column) {
    return numbers("bundle/inputs/0")[(example * kRows + row) * kRows + column];
  }
  // Rows x0 x1 h0 h1, columns i0 i1 j0 j1 f0 f1 o0 o1.
  float& kernel(size_t row, size_t column, const std::string& layer = "rnn") {
    return numbers("state/parameters/" + layer + "/kernel")[row * 8 + column];
  }
  void set_bias(const std::string& layer, std::initializer_list<float> gates) {
    std::ranges::copy(gates, numbers("state/parameters/" + layer + "/bias").begin());
  }
  Finished replay(std::function<void()> before = {}) {
    write_safetensors(folder / "planted.safetensors", bundle);
    return rein(folder, {"replay", "planted.safetensors"}, std::move(before));
  }

  Finished expect_found(const std::string& op_of_layer) {
    const Finished f = replay();
    EXPECT_EQ(f.code, 4) << f.err;
    EXPECT_TRUE(contains(f.out, op_of_layer)) << f.out;
    EXPECT_TRUE(contains(f.out, "gate f is not finite at time step 17, example 5, unit 0"))
        << f.out;
    return f;
  }
  // dz of f is dc c_before f (1 - f). dc is 1.6e38; at the place c_before is 17 and f (1 - f) 0.14,
  // past the largest float; afterwards the cell goes from 1.9 to -0.1. The wrong label of example 5
  // makes dc, 2 * 1.2e38 / 6 times the loss scale of 4; those of the others are right, and have no
  // gradient. The inputs of the layer are +-x0, and x1 but 0 at the place.
  void plant_backward(const std::string& layer, float x0, float x1) {
    kernel(0, 2, layer) = 20 / x0;                          // x0 -> j0
    kernel(1, 4, layer) = (20 + 1.581f) / x1;               // x1 -> f0
    set_bias(layer, {20, 0, 0, 0, -1.581f - 1, 0, 20, 0});  // the forget bias adds 1
    numbers("state/parameters/out/weights")[0] = 1.2e38f;
    numbers("state/parameters/out/weights")[1] = -1.2e38f;
    for (const size_t t : {17u, 18u, 19u, 21u, 23u, 25u, 27u}) pixel(kExample, t, 0) = -1;
    bundle.metadata["bundle/settings/loss_scale"] = "'4'";
    bundle.metadata["state/loss_scale"] = "4.0";
  }

  TemporaryFolder folder;
  TensorFile bundle;
};

// What is planted is named whatever the precision of the run, also on a machine that has no
// unit for it.
class ReplayOf : public Replay, public testing::WithParamInterface<Precision> {
 protected:
  void SetUp() override {
    const std::string precision(to_string(GetParam()));
    if (why_not({.precision = GetParam()}).empty()) return diverge({"--precision", precision});
    diverge({});
    bundle.metadata["bundle/settings/precision"] = "'" + precision + "'";
  }
  void expect_found_anywhere(const std::string& op) {
    const Finished f = expect_found(op + " of layer 'rnn'");
    const Finished elsewhere = replay([] { setenv("DNNL_MAX_CPU_ISA", "AVX2", 1); });
    EXPECT_EQ(elsewhere.out, f.out) << elsewhere.err;
  }
};
INSTANTIATE_TEST_SUITE_P(Precisions, ReplayOf,
                         testing::Values(Precision::f32, Precision::bf16, Precision::bf16x3),
                         [](const auto& test) { return std::string(to_string(test.param)); });

// Infinity times 0 is NaN; elsewhere it is times 1.001, whose low part is not 0 either.
TEST_P(ReplayOf, TheForwardPassNamesLayerGateStepAndExample) {
  kernel(1, 4) = std::numeric_limits<float>::infinity();  // x1 -> f0
  for (size_t b = 0; b < 6; ++b)
    for (size_t t = 0; t < kRows; ++t) pixel(b, t, 1) *= 1.001f;
  expect_found_anywhere("forward, op lstm");
}

TEST_P(ReplayOf, TheBackwardPassNamesLayerGateStepAndExample) {
  plant_backward("rnn", 1, 1);
  expect_found_anywhere("backward, op lstm_grad");
}

// The same in the upper of two layers. The lower one hands on the two inputs of every step as
// tanh(1) or -tanh(1), and as tanh(tanh(1)) or 0: it has no memory, as its forget gate is closed.
class ReplayOfTwoLayers : public Replay {
 protected:
  void SetUp() override {
    diverge({"--layers", "2"});
    kernel(0, 2, "rnn_0") = 20;
    kernel(1, 3, "rnn_0") = 1;
    set_bias("rnn_0", {20, 20, 0, 0, -1000, -1000, 20, 20});
  }
};

TEST_F(ReplayOfTwoLayers, TheForwardPassNamesTheUpper) {
  kernel(1, 4, "rnn_1") = std::numeric_limits<float>::infinity();
  expect_found("forward, op lstm of layer 'rnn_1'");
}

TEST_F(ReplayOfTwoLayers, TheBackwardPassNamesTheUpper) {
  const auto seen = static_cast<float>(std::tanh(1.0));
  plant_backward("rnn_1", seen, std::tanh(seen));
  expect_found("backward, op lstm_grad of layer 'rnn_1'");
}

// The largest float is rounded to no finite bfloat16.
TEST_P(ReplayOf, RoundsAsTheRunDid) {
  pixel(kExample, kStep, 0) = std::numeric_limits<float>::max();
  const Finished f = replay();
  const bool narrow = GetParam() != Precision::f32;
  EXPECT_EQ(f.code, narrow ? 4 : 0) << f.out << f.err;
  EXPECT_EQ(contains(f.out, "forward, op matmul of layer 'hidden'"), narrow) << f.out;
}

// The bits of the loss are those of the unit that the bundle names, whether it is there or not. In
// bf16 most sums of a network this small are exact, in whatever order.
TEST_F(Replay, MultipliesAsTheUnitOfTheRun) {
  diverge({"--hidden", "16"});
  uint64_t i = 0;
  for (const auto& [name, tensor] : bundle.tensors)
    if (name.starts_with("state/parameters/") || name == "bundle/inputs/0")
      for (float& x : numbers(name))
        x = 0.3f * static_cast<float>(RandomStream(Seed{1}, 0).normal(i++));
  bundle.metadata["bundle/settings/precision"] = "'bf16x3'";
  EXPECT_FALSE(bundle.metadata.contains("bundle/unit"));  // a run in f32 has none
  const std::string before_units = replay().out;
  std::map<std::string, std::string> losses;
  for (const char* unit : {"amx", "avx512_bf16"}) {
    bundle.metadata["bundle/unit"] = "'" + std::string(unit) + "'";
    const Finished f = replay();
    EXPECT_EQ(f.code, 0) << f.err;
    losses[unit] = f.out;
    for (const char* isa : {"AVX2", "AVX512_CORE_BF16"})
      EXPECT_EQ(replay([&] { setenv("DNNL_MAX_CPU_ISA", isa, 1); }).out, f.out) << unit << isa;
  }
  EXPECT_NE(losses["amx"], losses["avx512_bf16"]);
  EXPECT_EQ(losses["amx"], before_units);
  bundle.metadata["bundle/unit"] = "'tpu'";
  const Finished f = replay();
  EXPECT_EQ(f.code, 3);
  EXPECT_TRUE(contains(f.err, "unit: 'tpu' is none of amx, avx512_bf16")) << f.err;
}

TEST_F(Replay, ABundleNamesTheUnitOfTheRun) {
  const ProductOptions narrow{.precision = Precision::bf16};
  if (const std::string why = why_not(narrow); !why.empty()) GTEST_SKIP() << why;
  diverge({"--precision", "bf16"});
  EXPECT_EQ(bundle.metadata["bundle/unit"], "'" + std::string(to_string(unit_of(narrow))) + "'");
}

// With all weights 0 but one bias b, the loss is log(e^b + 9) - b: of images in three micro-batches
// too.
TEST_F(Replay, ComputesTheLossOfTheRun) {
  for (const std::vector<std::string>& more : {std::vector<std::string>{}, {"--accumulate", "3"}}) {
    diverge(more);
    numbers("state/parameters/out/biases")[0] = 2;
    const Finished f = replay();
    EXPECT_EQ(f.code, 0) << f.err;
    const std::string before = "the loss is ";
    const size_t found = f.out.find(before);
    ASSERT_NE(found, std::string::npos) << f.out;
    const double loss = std::stod(f.out.substr(found + before.size()));
    EXPECT_NEAR(loss, std::log(std::exp(2.0) + 9) - 2, 1e-6);  // a float's rounding
    pixel(4, 3, 0) = std::numeric_limits<float>::infinity();
    EXPECT_EQ(contains(replay().out, ", micro-batch 3 of 3: "), !more.empty());
  }
}

// The gradient of a micro-batch is -0.9 times 3e38 (all logits are 0, labels too), that of both is
// past the largest float.
TEST_F(Replay, NamesASumOfMicroBatchesThatIsNotFinite) {
  diverge({"--accumulate", "2"});
  set_bias("rnn", {20, 20, 0, 0, -1000, -1000, 20, 20});
  numbers("state/parameters/out/weights")[0] = 3e38f;
  const Finished f = replay();
  EXPECT_EQ(f.code, 4) << f.out << f.err;
  EXPECT_TRUE(contains(f.out, "the mean gradient of its 2 micro-batches is not finite in 'rnn/"))
      << f.out;
}

// What the optimizer remembers, and counts, are in the file.
TEST_F(Replay, ABundleHasTheWholeState) {
  EXPECT_TRUE(bundle.metadata.contains("state/step"));
  EXPECT_EQ(bundle.metadata.at("bundle/settings/seed"), "'1'");
  EXPECT_TRUE(std::ranges::any_of(
      bundle.tensors, [](const NamedTensor& t) { return t.name.starts_with("state/rule/m/"); }));
}

}  // namespace
}  // namespace rein::test
