// gate_workloads [NAME]: does one small piece of work, the same each time, on one thread; without a
// name it lists them. scripts/perf_gate.sh counts the instructions of `rein_measured`.
#include <rein/rein.h>

#include <cstdio>
#include <functional>
#include <string_view>

using namespace rein;

using Work = std::function<void()>;

// C, so that callgrind knows it by a plain name.
extern "C" [[gnu::noinline]] void rein_measured(const Work& work) { work(); }

namespace {

Tensor numbers(const Shape& shape) {
  Tensor x(shape);
  const RandomStream random(Seed{2}, 0);
  uint64_t at = 0;
  for (float& value : x.flat<float>()) value = static_cast<float>(random.uniform(at++) - 0.5);
  return x;
}

Tensor labels(int64_t count, int64_t classes) {
  Tensor y({count}, DType::int32);
  int64_t at = 0;
  for (int32_t& label : y.flat<int32_t>()) label = static_cast<int32_t>(7 * at++ % classes);
  return y;
}

// The second time: the first one makes what later ones reuse.
void measure(const Work& work) {
  work();
  rein_measured(work);
}

// One recorded training step of an LSTM with a linear layer on its last output.
void lstm_step(int64_t batch, int64_t steps, int64_t width, int64_t units) {
  constexpr int64_t kClasses = 10;
  Variables vars{Seed{1}};
  const BasicLSTMCell cell{vars, "rnn", width, units};
  const Linear out{vars, "out", units, kClasses};
  const auto cost = [&](Value x, Value y) {
    const Value zero = x.graph().constant(Tensor({batch, units}));
    return reduce_mean(
        sparse_softmax_cross_entropy_with_logits(out(cell.sequence(x, {{zero, zero}}).last), y));
  };
  Step step = record(cost, vars, chain(ClipByGlobalNorm{.clip_norm = 0.1}),
                     Adam{.learning_rate = 1e-3}, {.threads = 1});
  const Tensor x = numbers({steps, batch, width}), y = labels(batch, kClasses);
  measure([&] { step(x, y); });
}
void lstm_batch() { lstm_step(8, 10, 16, 32); }
void lstm_row() { lstm_step(1, 50, 1, 16); }

// Gradients of a tape: what graphs cost beside their kernels.
void tape() {
  constexpr int64_t kSteps = 8, kUnits = 8;
  Variables vars{Seed{1}};
  const BasicLSTMCell cell{vars, "rnn", kUnits, kUnits};
  const Tensor x = numbers({4 * kSteps, kUnits});
  ThreadTeam team(1);
  measure([&] {
    GradientTape recorded({.team = &team});
    const auto steps = split(recorded.input(x), kSteps, {.axis = 0});
    const Value loss = reduce_mean(square(static_rnn(cell, steps).outputs.back()));
    recorded.gradient(loss, vars);
  });
}

void softmax_cross_entropy() {
  constexpr int64_t kRows = 64, kClasses = 1000;
  Variables vars{Seed{1}};
  const Variable logits = vars.add("logits", {kRows, kClasses}, random_uniform(-1, 1));
  const auto cost = [&](Value y) {
    return reduce_mean(sparse_softmax_cross_entropy_with_logits(logits, y));
  };
  Step step = record(cost, vars, chain(), GradientDescent{.learning_rate = 1}, {.threads = 1});
  const Tensor y = labels(kRows, kClasses);
  measure([&] { step(y); });
}

// 100,000 parameters in ten variables, and gradients whose norm is above the limit.
void clip_adam() {
  Variables vars{Seed{1}};
  for (const char* name : {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"})
    vars.add(name, {10000}, zeros());
  ThreadTeam team(1);
  Gradients gradients(vars);
  gradients.team = &team;
  for (size_t i = 0; i < gradients.size(); ++i) {
    const Tensor values = numbers({10000});
    std::ranges::copy(values.flat<float>(), gradients.dense<float>(i).begin());
    gradients.set_kind(i, Gradients::Kind::dense);
  }
  const AnyTransform clip = chain(ClipByGlobalNorm{.clip_norm = 1});
  const AnyRule adam = Adam{.learning_rate = 1e-3};
  auto clip_state = clip.init(vars);
  auto adam_state = adam.init(vars);
  StepInfo info;
  measure([&] {
    ++info.step;
    gradients.scale = 1;
    clip.update(gradients, clip_state, vars, info);
    apply_updates(vars, gradients, adam, adam_state, info, team);
  });
}

struct Workload {
  std::string_view name;
  void (*run)();
};
constexpr Workload kWorkloads[] = {{"lstm_batch", lstm_batch},
                                   {"lstm_row", lstm_row},
                                   {"tape", tape},
                                   {"softmax_cross_entropy", softmax_cross_entropy},
                                   {"clip_adam", clip_adam}};

}  // namespace

int main(int argc, char** argv) {
  for (const Workload& workload : kWorkloads) {
    if (argc == 1) std::puts(workload.name.data());
    if (argc == 2 && workload.name == argv[1]) return workload.run(), 0;
  }
  return argc == 1 ? 0 : 2;
}
