#include "bench_step.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <time.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <vector>

#include "allocations.h"
#include "bench_ceiling.h"
#include "bench_clock.h"
#include "bench_monitor.h"
#include "rein/rein.h"
#include "usage_error.h"

namespace rein::app {
namespace {

// ---------------------------------------------------------------- what is trained

enum class Loss : uint8_t { cross_entropy, squared_error };

struct StepShape {
  std::string_view name;
  int64_t batch, steps, inputs, units, outputs;
  bool every_step;  // the loss sees every output, or the last one alone
  Loss loss;
  int64_t vocabulary = 0;  // the inputs are rows of a table of so many, or numbers
  int layers = 1;
};
constexpr StepShape kShapes[] = {
    {"seed", 128, 28, 28, 128, 10, false, Loss::cross_entropy},             // rows of images
    {"charrnn", 50, 50, 65, 128, 65, true, Loss::cross_entropy, 65, 2},     // characters
    {"h512", 32, 64, 65, 512, 65, true, Loss::cross_entropy, 65},           // and wide
    {"ptb", 20, 35, 650, 650, 10000, true, Loss::cross_entropy, 10000, 2},  // words
    {"tiny", 1, 100, 8, 32, 10, false, Loss::cross_entropy},                // one short sequence
    {"amp", 1, 2048, 1, 16, 1, true, Loss::squared_error},        // one long audio sequence
    {"ampb", 32, 2048, 1, 16, 1, true, Loss::squared_error},      // and a batch of them
    {"forecast", 256, 48, 8, 64, 1, false, Loss::squared_error},  // many short time series
};

const StepShape& shape_of(std::string_view name) {
  std::string known;
  for (const StepShape& s : kShapes) {
    if (s.name == name) return s;
    known += (known.empty() ? "" : ", ") + std::string(s.name);
  }
  throw UsageError(fmt::format("bench step: no shape '{}'; there are {}", name, known));
}

int64_t predictions(const StepShape& s) { return s.every_step ? s.steps * s.batch : s.batch; }

// Multiplications and additions of the products: forward, and two backward, except for inputs that
// are numbers, whose gradient nobody needs.
double gflop_of(const StepShape& s) {
  const auto product = [](int64_t m, int64_t n, int64_t k) {
    return 2e-9 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
  };
  const int64_t rows = s.steps * s.batch;
  const int input_products = s.vocabulary > 0 ? 3 : 2;
  return input_products * product(rows, 4 * s.units, s.inputs) +
         3 * (2 * s.layers - 1) * product(rows, 4 * s.units, s.units) +
         3 * product(predictions(s), s.outputs, s.units);
}

class Network {
 public:
  explicit Network(const StepShape& s)
      : shape_(s), cell_(make_layers(s)), out_(vars_, "out", s.units, s.outputs) {
    if (s.vocabulary > 0)
      table_ = vars_.add("embedding", {s.vocabulary, s.inputs}, random_uniform(-0.1, 0.1));
  }

  Value cost(const Value& input, const Value& y) const {
    const Value x = table_ ? gather(*table_, input) : input;
    const Value zero = x.graph().constant(Tensor({shape_.batch, shape_.units}));
    const auto run = cell_.sequence(x, {Values(static_cast<size_t>(2 * shape_.layers), zero)});
    const Value seen =
        shape_.every_step ? reshape(run.outputs, {predictions(shape_), shape_.units}) : run.last;
    const Value prediction = out_(seen);
    return reduce_mean(shape_.loss == Loss::cross_entropy
                           ? sparse_softmax_cross_entropy_with_logits(prediction, y)
                           : squared_error(y, prediction));
  }
  const Variables& variables() const { return vars_; }
  Step step(int threads) {
    return record([this](Value x, Value y) { return cost(x, y); }, vars_,
                  chain(ClipByGlobalNorm{.clip_norm = 5}), Adam{.learning_rate = 1e-3},
                  {.threads = threads});
  }

 private:
  std::vector<std::shared_ptr<const RNNCell>> make_layers(const StepShape& s) {
    std::vector<std::shared_ptr<const RNNCell>> layers;
    for (int i = 0; i < s.layers; ++i)
      layers.push_back(std::make_shared<BasicLSTMCell>(vars_, fmt::format("rnn_{}", i),
                                                       i == 0 ? s.inputs : s.units, s.units));
    return layers;
  }

  const StepShape& shape_;
  Variables vars_{Seed{1}};
  MultiRNNCell cell_;
  Linear out_;
  std::optional<Variable> table_;
};

Tensor draw_inputs(const StepShape& s) {
  const RandomStream random(Seed{2}, stream_of("inputs"));
  if (s.vocabulary > 0) {
    Tensor words({s.steps, s.batch}, DType::int32);
    auto ids = words.flat<int32_t>();
    for (size_t i = 0; i < ids.size(); ++i)
      ids[i] = static_cast<int32_t>(random.below(i, static_cast<uint64_t>(s.vocabulary)));
    return words;
  }
  Tensor x({s.steps, s.batch, s.inputs});
  auto numbers = x.flat<float>();
  for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<float>(random.normal(i));
  return x;
}

Tensor draw_targets(const StepShape& s) {
  const RandomStream random(Seed{2}, stream_of("targets"));
  if (s.loss == Loss::squared_error) {
    Tensor y({predictions(s), s.outputs});
    auto numbers = y.flat<float>();
    for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<float>(random.normal(i));
    return y;
  }
  Tensor y({predictions(s)}, DType::int32);
  auto labels = y.flat<int32_t>();
  for (size_t i = 0; i < labels.size(); ++i)
    labels[i] = static_cast<int32_t>(random.below(i, static_cast<uint64_t>(s.outputs)));
  return y;
}

// ---------------------------------------------------------------- what is measured

double process_cpu_ms() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return 1e3 * static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_nsec);
}

double peak_megabytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

}  // namespace

StepBench bench_step(std::string_view name, int threads, double seconds, bool monitor) {
  const StepShape& shape = shape_of(name);
  checked_threads("bench step", threads);
  const double before_data = process_cpu_ms();
  const Tensor inputs[] = {draw_inputs(shape), draw_targets(shape)};
  const double data_ms = process_cpu_ms() - before_data;
  Network network(shape);
  Step step = network.step(threads);
  step.run(inputs);
  const double start_ms = process_cpu_ms() - data_ms;
  Ceiling ceiling(threads);

  constexpr int kWarmUp = 2, kFewest = 10, kBurst = 4;
  for (int i = 0; i < kWarmUp; ++i) step.run(inputs);
  const int64_t before = allocation_count();
  step.run(inputs);
  const int64_t allocations = allocation_count() - before;

  Times times;
  const auto start = Clock::now();
  while (times.count() < kFewest || seconds_since(start) < seconds) {
    ceiling.measure();
    for (int i = 0; i < kBurst; ++i) times.measure([&] { step.run(inputs); });
  }

  step.profile(true);  // apart, as looking at the clock takes time too
  for (int i = 0; i < kBurst; ++i) step.run(inputs);

  StepBench result;
  result.shape = name;
  result.threads = ceiling.threads();
  result.ms_min = 1e3 * times.least();
  result.ms_median = 1e3 * times.median();
  result.gflop = gflop_of(shape);
  result.gflops = result.gflop / times.least();
  result.ceiling_gflops = ceiling.gflops();
  result.share = result.gflops / result.ceiling_gflops;
  result.peak_mb = peak_megabytes();
  result.allocations = allocations;
  result.start_ms = start_ms;
  if (monitor) result.monitor_ms = measure_monitor(network.variables(), threads);
  for (const OpTime& time : step.op_times())
    result.phases.push_back({std::string(time.name), 1e3 * time.seconds / kBurst});
  return result;
}

std::string as_json(const StepBench& r) {
  std::string phases;
  for (const Phase& p : r.phases)
    phases += fmt::format(R"({}"{}": {:.4f})", phases.empty() ? "" : ", ", p.name, p.ms);
  const std::string monitor =
      r.monitor_ms ? fmt::format(R"("monitor_ms": {:.4f}, "monitor_share": {:.5f}, )",
                                 *r.monitor_ms, *r.monitor_ms / r.ms_min)
                   : "";
  return fmt::format(
      R"({{"shape": "{}", "threads": {}, "ms_min": {:.4f}, "ms_median": {:.4f}, "gflop": {:.6f}, )"
      R"("gflops": {:.2f}, "ceiling_gflops": {:.2f}, "share": {:.4f}, "peak_mb": {:.1f}, )"
      R"("allocations": {}, "start_ms": {:.2f}, {}"phases": {{{}}}}})",
      r.shape, r.threads, r.ms_min, r.ms_median, r.gflop, r.gflops, r.ceiling_gflops, r.share,
      r.peak_mb, r.allocations, r.start_ms, monitor, phases);
}

}  // namespace rein::app
