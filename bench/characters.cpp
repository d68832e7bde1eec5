// characters TEXT PRECISION SEED [STEPS]: trains a model of the characters of a text, an LSTM that
// sees one and predicts the next, and prints as JSON lines how many bits it needs for each one of
// the last twentieth, which it is not trained on. bench/precision.sh runs it.
#include <rein/rein.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>

using namespace rein;

namespace {

constexpr int64_t kBatch = 32, kLength = 64, kWidth = 64, kUnits = 192, kLooks = 10;

// Every byte as its number among those that occur.
struct Text {
  std::vector<int32_t> numbers{};
  int64_t vocabulary = 0;

  explicit Text(const std::string& bytes) {
    std::array<int32_t, 256> number{};
    for (const char c : bytes) number[static_cast<unsigned char>(c)] = 1;
    for (int32_t& n : number) n = n == 1 ? static_cast<int32_t>(vocabulary++) : 0;
    for (const char c : bytes) numbers.push_back(number[static_cast<unsigned char>(c)]);
  }
};

struct Batch {
  Tensor x{{kLength, kBatch}, DType::int32};
  Tensor y{{kLength * kBatch}, DType::int32};  // the characters after those

  template <class F>
  Batch(const Text& text, const F& first_of) {
    for (int64_t row = 0; row < kBatch; ++row) {
      const int64_t first = first_of(row);
      for (int64_t t = 0; t < kLength; ++t) {
        const auto to = static_cast<size_t>(t * kBatch + row);
        const auto from = static_cast<size_t>(first + t);
        x.flat<int32_t>()[to] = text.numbers[from];
        y.flat<int32_t>()[to] = text.numbers[from + 1];
      }
    }
  }
};

void train(const Text& text, const ProductOptions& products, Seed seed, int64_t steps) {
  const auto size = static_cast<int64_t>(text.numbers.size()), seen = size - size / 20;
  Variables vars{seed};
  const Variable table = vars.add("table", {text.vocabulary, kWidth}, random_uniform(-0.1, 0.1));
  const BasicLSTMCell cell{vars, "rnn", kWidth, kUnits};
  const Linear out{vars, "out", kUnits, text.vocabulary};
  const auto cost = [&](Value x, Value y) {
    const Value zero = x.graph().constant(Tensor({kBatch, kUnits}));
    const Value outputs = cell.sequence(gather(table, x), {{zero, zero}}).outputs;
    return reduce_mean(sparse_softmax_cross_entropy_with_logits(
        out(reshape(outputs, {kLength * kBatch, kUnits})), y));
  };
  const CosineDecay rate{.initial = 3e-3, .decay_steps = static_cast<double>(steps)};
  Step step = record(cost, vars, chain(ClipByGlobalNorm{.clip_norm = 1}),
                     Adam{.learning_rate = rate}, {.threads = 1, .products = products});
  Function look{cost, {.threads = 1}};

  const RandomStream places(seed, stream_of("places"));
  const int64_t unseen_batches = (size - seen - 1) / (kLength * kBatch);
  for (int64_t s = 1; s <= steps; ++s) {
    const Batch batch(text, [&](int64_t row) {
      const auto draw = static_cast<uint64_t>((s - 1) * kBatch + row);
      return static_cast<int64_t>(places.below(draw, static_cast<uint64_t>(seen - kLength)));
    });
    step(batch.x, batch.y);
    if (s * kLooks / steps == (s - 1) * kLooks / steps) continue;
    double sum = 0;
    for (int64_t b = 0; b < unseen_batches; ++b) {
      const Batch unseen(text, [&](int64_t row) { return seen + (b * kBatch + row) * kLength; });
      sum += look(unseen.x, unseen.y).flat<float>()[0];
    }
    std::printf("{\"step\": %d, \"bits\": %.5f}\n", static_cast<int>(s),
                sum / static_cast<double>(unseen_batches) / std::log(2.0));
    std::fflush(stdout);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::optional<Precision> precision = precision_of(argc > 2 ? argv[2] : "");
  if (argc < 4 || !precision) {
    std::fprintf(stderr, "usage: characters TEXT f32|bf16|bf16x3 SEED [STEPS]\n");
    return 2;
  }
  std::ifstream file(argv[1], std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  if (bytes.size() < 100000) {
    std::fprintf(stderr, "characters: %s is no text of 100 kB or more\n", argv[1]);
    return 1;
  }
  const int64_t steps = argc > 4 ? std::atoll(argv[4]) : 1500;
  const Seed seed{std::strtoull(argv[3], nullptr, 10)};
  if (steps <= 0) {
    std::fprintf(stderr, "characters: STEPS is a number of 1 or more, not %s\n", argv[4]);
    return 2;
  }
  try {
    train(Text(bytes), {.precision = *precision}, seed, steps);
  } catch (const Error& e) {
    std::fprintf(stderr, "characters: %s\n", e.what());
    return 1;
  }
  return 0;
}
