// Every wrapper with every transform and every rule: a Step walks as the same thing by hand, saved
// and restored, on any number of threads, to the bit; and a limit above every norm is no limit.
// Both sides call the same rules and transforms, so a formula that is wrong there is not found
// here: they are held to others' numbers and to twins in tests/golden, tests/apply, tests/process
// and sharpness_test.cpp.
#include <gtest/gtest.h>

#include "support/error_text.h"
#include "train/by_hand.h"

namespace rein::matrix {
namespace {

// Calls f(communicator, or none) on all ranks of the cell, and compares what they return.
template <class F>
auto on_ranks(const Cell& cell, F f) {
  if (cell.wrapper.ranks == 1) return f(nullptr);
  std::vector<decltype(f(nullptr))> all(static_cast<size_t>(cell.wrapper.ranks));
  run_ranks(cell.wrapper.ranks,
            [&](Communicator& ranks) { all[static_cast<size_t>(ranks.rank())] = f(&ranks); });
  for (const auto& one : all) EXPECT_EQ(one, all[0]);
  return all[0];
}

StepOptions options(const Cell& cell, int threads, Communicator* ranks) {
  StepOptions options = cell.wrapper.options;
  options.threads = threads;
  options.communicator = ranks;
  return options;
}

Step step_of(const Cell& cell, SmallModel& model, int threads, Communicator* ranks) {
  return record(cost(cell, model), model.vars, cell.process(), cell.rule,
                options(cell, threads, ranks));
}

struct Trained {
  Course course{};
  StateDict after_two{};
  std::string end{};

  bool operator==(const Trained& other) const {
    return course == other.course && bits(after_two) == bits(other.after_two) && end == other.end;
  }
};

// All steps of a cell by a Step; or those that come after a saved one.
Trained train(const Cell& cell, int threads, const Trained* saved = nullptr) {
  return on_ranks(cell, [&](Communicator* ranks) {
    SmallModel model;
    Step step = step_of(cell, model, threads, ranks);
    Trained trained;
    if (saved) {
      trained = {{saved->course[0], saved->course[1]}, saved->after_two};
      step.load_state(saved->after_two);
    }
    const int parts = cell.wrapper.micro_batches, first = (ranks ? ranks->rank() : 0) * parts;
    for (int t = saved ? 2 : 0; t < kSteps; ++t) {
      if (t == 2) trained.after_two = step.state();
      for (int part = first; part < first + parts; ++part) {
        const Batch b = batch(cell.wrapper, t, part);
        if (part + 1 < first + parts)
          step.accumulate(b.x, b.y, b.ids);
        else
          step(b.x, b.y, b.ids);
      }
      trained.course.push_back(model.weights());
    }
    trained.end = bits(step.state());
    return trained;
  });
}

double largest_difference(const Course& a, const Course& b) {
  double largest = 0;
  for (size_t t = 0; t < a.size(); ++t)
    for (size_t v = 0; v < a[t].size(); ++v)
      for (size_t i = 0; i < a[t][v].size(); ++i)
        largest = std::max(largest, std::abs(a[t][v][i] - b[t][v][i]));
  return largest;
}

void check_cell(const Cell& cell, const Course& by_hand) {
  const Trained want = train(cell, 1);
  if (cell.wrapper.to_the_bit)
    EXPECT_EQ(want.course, by_hand) << "recorded and by hand";
  else  // a few units in the last place of weights up to 3
    EXPECT_LT(largest_difference(want.course, by_hand), 1e-6) << "recorded and by hand";
  EXPECT_EQ(train(cell, 2, &want), want) << "restored after two steps";
  EXPECT_EQ(train(cell, 3), want) << "three threads";
}

// ScheduleFreeAdamW has an average of its own, Rprop no learning rate to lower.
bool refused(const WrapperRow& wrapper, const AnyRule& rule) {
  SmallModel model;
  return test::error_of([&] {
           step_of({wrapper, rule, no_clip}, model, 1, nullptr);
         }) != "nothing thrown";
}

#ifdef REIN_SANITIZED
// Of the cells: sanitizers are slow, and cells share their code.
constexpr int kStride = 5;
#else
constexpr int kStride = 1;
#endif

TEST(Wrappers, WithEveryClipAndRule) {
  int cells = 0, refusals = 0;
  for (const WrapperRow& wrapper : wrappers())
    for (const RuleRow& row : rules()) {
      if (refused(wrapper, row.rule)) {
        ++refusals;
        continue;
      }
      const Course bare = ByHand({wrapper, row.rule, no_clip}).run();
      for (const ClipRow& clip : clips()) {
        if (!row.with_every_clip && std::string_view(clip.name) != "several") continue;
        if (++cells % kStride != 0) continue;
        SCOPED_TRACE(testing::Message()
                     << wrapper.name << ", " << clip.name << ", " << row.rule.name());
        const Cell cell{wrapper, row.rule, clip.make};
        const Course course = ByHand(cell).run();
        if (row.with_every_clip) {
          EXPECT_EQ(course != bare, clip.changes);
        }
        check_cell(cell, course);
        if (clip.above) {
          EXPECT_EQ(ByHand({wrapper, row.rule, clip.above}).run(), bare);
        }
        if (HasFailure()) return;  // the first cell tells enough
      }
    }
  EXPECT_GT(cells, 1700);
  EXPECT_EQ(refusals, 7 + 2);
}

TEST(Wrappers, EachDoesSomething) {
  const AnyRule rule = GradientDescent{.learning_rate = 0.1};
  const auto course = [&](const WrapperRow& wrapper) {
    return ByHand({wrapper, rule, no_clip}).run();
  };
  const Course bare = course(wrappers()[0]);
  for (const WrapperRow& wrapper : wrappers())
    EXPECT_EQ(course(wrapper) != bare, wrapper.moves) << wrapper.name;
}

// Of variables that are large enough for threads to share them: each wrapper and each clip once.
TEST(Wrappers, OfLargeVariablesHaveTheSameBitsForAnyNumberOfThreads) {
  const auto end = [](const Cell& cell, int threads) {
    return on_ranks(cell, [&](Communicator* ranks) {
      Variables vars{Seed{1}};
      const Variable w = vars.add("w", {130, 300}, glorot_uniform());
      const Variable b = vars.add("b", {300}, zeros());
      vars.add("e", {2}, zeros());
      const auto cost = [&](Value x) {
        const Value squares = square(tanh(matmul(x, w) + b) - 0.5);
        return cell.per_example() ? reduce_mean(squares, {.axes = {1}}) : reduce_mean(squares);
      };
      Step step = record(cost, vars, cell.process(), cell.rule, options(cell, threads, ranks));
      for (int t = 0; t < 3; ++t) {
        const Tensor x = tensor({4, 130}, noise(4 * 130, static_cast<uint64_t>(t)), DType::float32);
        for (int part = 1; part < cell.wrapper.micro_batches; ++part) step.accumulate(x);
        step(x);
      }
      return bits(step.state());
    });
  };
  for (const WrapperRow& wrapper : wrappers())
    for (const ClipRow& clip : clips()) {
      if (&wrapper != &wrappers()[0] && std::string_view(clip.name) != "ClipByGlobalNorm") continue;
      SCOPED_TRACE(testing::Message() << wrapper.name << ", " << clip.name);
      const std::string want = end({wrapper, Adam{}, clip.make}, 1);
      for (int threads : {2, 3}) EXPECT_EQ(end({wrapper, Adam{}, clip.make}, threads), want);
      if (HasFailure()) return;
    }
}

}  // namespace
}  // namespace rein::matrix
