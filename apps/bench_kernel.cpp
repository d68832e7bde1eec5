#include "bench_kernel.h"

#include <fmt/format.h>

#include "bench_ceiling.h"
#include "bench_clock.h"
#include "names.h"
#include "rein/base/memory.h"
#include "rein/kernels/elementwise.h"
#include "rein/kernels/gemm.h"
#include "rein/kernels/lstm.h"
#include "rein/kernels/narrow.h"
#include "rein/kernels/softmax.h"

namespace rein::app {
namespace {

using kernels::Trans;

std::vector<float> numbers(int64_t n) {
  std::vector<float> x(static_cast<size_t>(n));
  for (size_t i = 0; i < x.size(); ++i) x[i] = 0.01f * static_cast<float>(i % 201) - 1;
  return x;
}

double product(int64_t m, int64_t n, int64_t k) {
  return 2e-9 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
}

class Bench {
 public:
  Bench(const ProductOptions& options, int threads, double seconds)
      : options_(options), ceiling_(threads), team_(threads), seconds_(seconds) {}

  void gemm(Trans ta, Trans tb, int64_t m, int64_t n, int64_t k) {
    const auto a = numbers(m * k), b = numbers(k * n);
    auto c = numbers(m * n);
    const bool narrow = options_.narrow();
    Buffer scratch(narrow ? kernels::narrow::gemm_scratch_bytes(options_, m, n, k)
                          : kernels::gemm_scratch_bytes<float>(tb, m, n, k));
    const bool at = ta == Trans::yes, bt = tb == Trans::yes;
    const int64_t lda = at ? m : k, ldb = bt ? k : n;
    products(fmt::format("gemm {}{} {}x{}x{}", at ? 'T' : 'N', bt ? 'T' : 'N', m, n, k),
             product(m, n, k), [&] {
               if (narrow)
                 kernels::narrow::gemm(team_, options_, ta, tb, m, n, k, a.data(), lda, b.data(),
                                       ldb, c.data(), n, scratch.data());
               else
                 kernels::gemm<float>(team_, ta, tb, m, n, k, a.data(), lda, b.data(), ldb, 0,
                                      c.data(), n, scratch.data());
             });
  }

  void lstm(const kernels::LstmSizes& s) {
    const bool narrow = options_.narrow();
    const auto memory =
        narrow ? kernels::narrow::lstm_memory(options_, s) : kernels::lstm_memory<float>(s);
    const int64_t rows = s.steps * s.batch;
    const auto x = numbers(rows * s.inputs), kernel = numbers((s.inputs + s.units) * 4 * s.units);
    const auto bias = numbers(4 * s.units), state = numbers(s.batch * s.units);
    const auto d_outputs = numbers(rows * s.units);
    auto outputs = numbers(rows * s.units), c = state, gates = numbers(memory.gates);
    auto cells = numbers(memory.cells), dz = gates, dkernel = kernel, dbias = bias;
    Buffer scratch(std::max(memory.forward_scratch, memory.backward_scratch));
    const kernels::LstmForward<float> forward{.x = x.data(),
                                              .kernel = kernel.data(),
                                              .bias = bias.data(),
                                              .h0 = state.data(),
                                              .c0 = state.data(),
                                              .outputs = outputs.data(),
                                              .c = c.data(),
                                              .gates = gates.data(),
                                              .cells = cells.data()};
    kernels::LstmBackward<float> backward;
    backward.x = x.data();
    backward.kernel = kernel.data();
    backward.h0 = backward.c0 = state.data();
    backward.outputs = outputs.data();
    backward.gates = gates.data();
    backward.cells = cells.data();
    backward.dz = dz.data();
    backward.d_outputs = d_outputs.data();
    backward.dkernel = dkernel.data();
    backward.dbias = dbias.data();
    const auto name = [&](const char* pass) {
      return fmt::format("lstm {} B{} T{} I{} H{}", pass, s.batch, s.steps, s.inputs, s.units);
    };
    const double once = product(rows, 4 * s.units, s.inputs + s.units);
    products(name("forward"), once, [&] {
      if (narrow)
        kernels::narrow::lstm_forward(team_, options_, s, forward, scratch.data());
      else
        kernels::lstm_forward(team_, s, forward, scratch.data());
    });
    products(name("backward"), once + product(rows, 4 * s.units, s.units), [&] {
      if (narrow)
        kernels::narrow::lstm_backward(team_, options_, s, backward, scratch.data());
      else
        kernels::lstm_backward(team_, s, backward, scratch.data());
    });
  }

  void unary(const char* name, kernels::Unary function) {
    constexpr int64_t kElements = 8192;  // stays in the first-level cache
    const auto x = numbers(kElements);
    auto y = x;
    elements(name, kElements,
             [&] { kernels::unary(team_, function, x.data(), y.data(), kElements); });
  }

  void cross_entropy(int64_t rows, int64_t classes) {
    const auto logits = numbers(rows * classes), upstream = numbers(rows);
    auto grad = logits;
    const std::vector<int32_t> labels(static_cast<size_t>(rows));
    elements(fmt::format("cross entropy gradient {}x{}", rows, classes), rows * classes, [&] {
      kernels::sparse_cross_entropy_grad(team_, logits.data(), labels.data(), upstream.data(),
                                         grad.data(), rows, classes);
    });
  }

  // All against the same ceiling: that of the whole run.
  std::vector<KernelTime> results() {
    for (KernelTime& r : results_) r.share = r.gflops / ceiling_.gflops();
    return std::move(results_);
  }

 private:
  template <class F>
  double fastest(F call) {
    constexpr size_t kFewest = 2;
    call();  // touches memory, compiles what is compiled late
    Times times;
    const auto start = Clock::now();
    while (times.count() < kFewest || seconds_since(start) < seconds_) {
      ceiling_.measure();
      times.measure(call);
    }
    return times.steady();
  }

  template <class F>
  void products(std::string name, double gflop, F call) {
    const double seconds = fastest(call);
    KernelTime& r = results_.emplace_back();
    r.name = std::move(name);
    r.us = 1e6 * seconds;
    r.gflops = gflop / seconds;
  }

  template <class F>
  void elements(std::string name, int64_t n, F call) {
    const double seconds = fastest(call);
    KernelTime& r = results_.emplace_back();
    r.name = std::move(name);
    r.us = 1e6 * seconds;
    r.ns_an_element = 1e9 * seconds / static_cast<double>(n);
  }

  ProductOptions options_;
  std::vector<KernelTime> results_;
  Ceiling ceiling_;
  ThreadTeam team_;
  double seconds_;
};

}  // namespace

std::vector<KernelTime> bench_kernels(const ProductOptions& products, int threads, double seconds) {
  check_possible(products);
  Bench bench(products, checked_threads("bench kernel", threads), seconds);
  bench.gemm(Trans::no, Trans::no, 128, 512, 128);
  bench.gemm(Trans::no, Trans::no, 128, 10, 128);
  bench.gemm(Trans::no, Trans::no, 700, 10000, 650);
  bench.gemm(Trans::no, Trans::yes, 700, 650, 10000);
  bench.gemm(Trans::yes, Trans::no, 650, 10000, 700);
  bench.lstm({.steps = 28, .batch = 128, .inputs = 28, .units = 128});
  bench.lstm({.steps = 64, .batch = 32, .inputs = 65, .units = 512});
  bench.lstm({.steps = 2048, .batch = 1, .inputs = 1, .units = 16});
  if (products.narrow()) return bench.results();
  bench.unary("exp", kernels::Unary::exp);
  bench.unary("sigmoid", kernels::Unary::sigmoid);
  bench.unary("tanh", kernels::Unary::tanh);
  bench.cross_entropy(700, 10000);
  return bench.results();
}

std::string as_json(const std::vector<KernelTime>& kernels) {
  std::string all;
  for (const KernelTime& k : kernels)
    all += fmt::format(R"({}{{"name": "{}", "us": {:.3f}, "gflops": {:.2f}, "share": {:.4f}, )"
                       R"("ns_an_element": {:.4f}}})",
                       all.empty() ? "" : ", ", k.name, k.us, k.gflops, k.share, k.ns_an_element);
  return "[" + all + "]";
}

}  // namespace rein::app
