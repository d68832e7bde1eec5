// What holds of every clip whatever the gradients, in cases drawn by RapidCheck.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>

#include "process/steps.h"
#include "rein/process/clip.h"

namespace rein {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

// A factor and a product rounded to float, and sums of squares of what they gave.
constexpr double kRounding = 3e-7;

// The same cases every time, unless RC_PARAMS asks for others.
template <class Property>
void holds(const char* what, Property property) {
  setenv("RC_PARAMS", "seed=2024 max_success=1000", 0);
  EXPECT_TRUE(rc::check(what, property));
}

// Gradients of one to four variables, of about one size, which is a power of ten.
struct Drawn {
  std::vector<Shape> shapes;
  std::vector<Gradient> gradients;
  DType dtype = DType::float32;
  double size = 1;
};

Drawn draw(int least_exponent, int most_exponent, bool sparse = true) {
  Drawn d;
  d.dtype = *rc::gen::element(DType::float32, DType::float64);
  d.size = std::pow(10.0, *rc::gen::inRange(least_exponent, most_exponent + 1));
  const int count = *rc::gen::inRange(1, 5);
  for (int i = 0; i < count; ++i) {
    const Shape shape{*rc::gen::inRange<int64_t>(1, 7), *rc::gen::inRange<int64_t>(1, 9)};
    d.shapes.push_back(shape);
    const int kind = *rc::gen::inRange(0, 6);  // 0 absent, 1 sparse
    std::vector<int64_t> indices;
    Shape stored = shape;
    if (kind == 1 && sparse) {
      stored[0] = *rc::gen::inRange<int64_t>(1, 9);
      for (int64_t k = 0; k < stored[0]; ++k)
        indices.push_back(*rc::gen::inRange<int64_t>(0, shape[0]));
    }
    auto x = noise(static_cast<size_t>(stored.size()), *rc::gen::inRange<uint64_t>(0, 1000));
    for (double& v : x) v = std::clamp(v, -3.0, 3.0) * d.size;  // 3e38 is finite
    if (kind == 0 && i > 0)
      d.gradients.emplace_back();
    else if (kind == 1 && sparse)
      d.gradients.push_back(rows(indices, shape, x, d.dtype));
    else
      d.gradients.emplace_back(tensor(shape, x, d.dtype));
  }
  return d;
}

// Dense numbers of all of them; of absent ones none.
Lists dense(const std::vector<Gradient>& gradients) {
  Lists lists;
  for (const Gradient& g : gradients)
    lists.push_back(!g              ? std::vector<double>()
                    : g.is_sparse() ? numbers(Gradient(to_dense(g.sparse())))
                                    : numbers(g));
  return lists;
}

double p_norm(const Lists& lists, double p) {
  double largest = 0, sum = 0;
  for (const auto& list : lists)
    for (double v : list) largest = std::max(largest, std::abs(v));
  if (std::isinf(p) || largest == 0) return largest;
  for (const auto& list : lists)
    for (double v : list) sum += std::pow(std::abs(v) / largest, p);
  return largest * std::pow(sum, 1 / p);
}

std::vector<Gradient> once(const AnyTransform& transform, const Drawn& d) {
  return Steps(transform, d.shapes, d.dtype).step(d.gradients);
}

struct Named {
  const char* name;
  std::function<AnyTransform(double)> of;  // of a limit
  double order = 2;
  bool per_variable = false;
};

std::vector<Named> norm_clips() {
  std::vector<Named> clips{
      {"by norm", [](double c) { return ClipByNorm{.clip_norm = c}; }, 2, true},
      {"in groups",
       [](double c) {
         return Groups{{{"v0", ClipByNorm{.clip_norm = c}}, {"*", ClipByNorm{.clip_norm = c}}}};
       },
       2, true},
      {"max change", [](double c) { return MaxChange{.per_variable = 2 * c, .global = c}; }},
      {"all but none", [](double c) { return only("*", ClipByGlobalNorm{.clip_norm = c}); }},
  };
  for (const double p : {1.0, 1.5, 2.0, 2.3, 3.0, 4.5, kInf})
    clips.push_back({"by global norm",
                     [p](double c) { return ClipByGlobalNorm{.clip_norm = c, .norm_type = p}; },
                     p});
  return clips;
}

std::vector<Named> all_clips() {
  auto clips = norm_clips();
  clips.push_back({"by value", [](double c) { return ClipByValue{-c, c}; }});
  clips.push_back({"by rows", [](double c) { return ClipByNorm{.clip_norm = c, .axes = {1}}; }});
  clips.push_back({"by columns", [](double c) { return ClipByNorm{.clip_norm = c, .axes = {0}}; }});
  clips.push_back({"average", [](double c) { return ClipByAverageNorm{.clip_norm = c}; }});
  clips.push_back({"block RMS", [](double c) { return ClipByBlockRms{.threshold = c}; }});
  clips.push_back({"adaptive", [](double c) {  // parameters are 0: the limit is c
                     return AdaptiveGradClip{.clipping = c, .epsilon = 1};
                   }});
  return clips;
}

Named draw_clip(const std::vector<Named>& clips) {
  const Named clip = clips[*rc::gen::inRange<size_t>(0, clips.size())];
  RC_LOG() << clip.name << ", order " << clip.order;
  return clip;
}

double draw_limit(const Drawn& d) {
  return d.size * std::pow(10.0, *rc::gen::inRange(-20, 11) / 10.0);
}

TEST(ClipProperty, NeverRaisesANorm) {
  holds("a clip never raises a norm", [] {
    const Drawn d = draw(-30, 37);
    const Named clip = draw_clip(all_clips());
    const Lists before = dense(d.gradients), after = dense(once(clip.of(draw_limit(d)), d));
    for (const double p : {1.0, 2.0, kInf})
      RC_ASSERT(p_norm(after, p) <= p_norm(before, p) * (1 + kRounding));
  });
}

TEST(ClipProperty, KeepsTheDirection) {
  holds("clips by a norm multiply by one number", [] {
    const Drawn d = draw(-30, 37);
    const Named clip = draw_clip(norm_clips());
    const Lists before = dense(d.gradients), after = dense(once(clip.of(draw_limit(d)), d));
    // MaxChange has a factor for each variable beside the one for all.
    const bool each = clip.per_variable || std::string_view(clip.name) == "max change";
    const double all = p_norm(after, 2) / p_norm(before, 2);
    for (size_t i = 0; i < before.size(); ++i) {
      const double own = p_norm({before[i]}, 2);
      const double factor = !each ? all : own == 0 ? 1 : p_norm({after[i]}, 2) / own;
      for (size_t j = 0; j < before[i].size(); ++j)
        RC_ASSERT(std::abs(after[i][j] - factor * before[i][j]) <=
                  2 * kRounding * std::abs(factor * before[i][j]) + 1e-44);
    }
  });
}

TEST(ClipProperty, AgainChangesNothing) {
  holds("a clip of what is clipped changes nothing but roundings", [] {
    const Drawn d = draw(-30, 37);
    const Named clip = draw_clip(all_clips());
    const AnyTransform transform = clip.of(draw_limit(d));
    Drawn second = d;
    second.gradients = once(transform, d);
    const Lists first = dense(second.gradients), twice = dense(once(transform, second));
    for (size_t i = 0; i < first.size(); ++i)
      for (size_t j = 0; j < first[i].size(); ++j)
        RC_ASSERT(std::abs(twice[i][j] - first[i][j]) <= kRounding * std::abs(first[i][j]));
  });
}

TEST(ClipProperty, UnclippedKeepsEveryBit) {
  holds("what is within its limit keeps every bit", [] {
    const Drawn d = draw(-38, 38);
    const Named clip = draw_clip(all_clips());
    // No norm of any order or part is above the sum of sizes.
    const double limit = *rc::gen::element(1.001 * p_norm(dense(d.gradients), 1), kInf);
    const auto after = once(clip.of(limit), d);
    for (size_t i = 0; i < after.size(); ++i) {
      RC_ASSERT(bool(after[i]) == bool(d.gradients[i]));
      if (!after[i]) continue;
      RC_ASSERT(after[i].is_sparse() == d.gradients[i].is_sparse());
      const Gradient want = after[i].is_sparse()
                                ? Gradient(merge_duplicates(d.gradients[i].sparse()))
                                : d.gradients[i];
      RC_ASSERT(after[i].values().spec() == want.values().spec());
      RC_ASSERT(std::memcmp(after[i].values().data(), want.values().data(),
                            want.values().spec().bytes()) == 0);
    }
  });
}

TEST(ClipProperty, AnySizeClipsToTheRightNorm) {
  holds("gradients from 1e-38 to 1e38 come out with the limit as their norm", [] {
    const Drawn d = draw(-38, 38);
    const Named clip = draw_clip(norm_clips());
    const Lists before = dense(d.gradients);
    const double norm = p_norm(before, clip.order);
    RC_PRE(norm > 0);
    // Results below 1e-38 have few digits left in float.
    const double limit =
        std::max(norm * std::pow(10.0, -*rc::gen::inRange(1, 40)), std::min(norm / 2, 1e-37));
    const Lists after = dense(once(clip.of(limit), d));
    const auto right = [&](double got, double want) {
      RC_ASSERT(std::abs(got / want - 1) <= 1e-6);
    };
    if (!clip.per_variable)
      right(p_norm(after, clip.order), limit);
    else
      for (size_t i = 0; i < before.size(); ++i)
        if (const double own = p_norm({before[i]}, 2); own > limit)
          right(p_norm({after[i]}, 2), limit);
  });
}

// Clips whose norm is of a variable divided by a number, or of each of its slices.
struct OfParts {
  const char* name;
  std::function<AnyTransform(double)> of;
  // The parts of an array of two axes that have a norm of their own, and that norm. Units are
  // columns, or the whole of what is but a vector.
  enum Parts { whole, rows, columns, units } parts;
  std::function<double(double norm, size_t count)> measure = [](double norm, size_t) {
    return norm;
  };
};

const std::vector<OfParts>& clips_of_parts() {
  static const std::vector<OfParts> all{
      {"average", [](double c) { return ClipByAverageNorm{.clip_norm = c}; }, OfParts::whole,
       [](double norm, size_t count) { return norm / static_cast<double>(count); }},
      {"block RMS", [](double c) { return ClipByBlockRms{.threshold = c}; }, OfParts::whole,
       [](double norm, size_t count) { return norm / std::sqrt(static_cast<double>(count)); }},
      {"by rows", [](double c) { return ClipByNorm{.clip_norm = c, .axes = {1}}; }, OfParts::rows},
      {"by columns", [](double c) { return ClipByNorm{.clip_norm = c, .axes = {0}}; },
       OfParts::columns},
      {"adaptive",  // parameters are 0: the limit is c
       [](double c) { return AdaptiveGradClip{.clipping = c, .epsilon = 1}; }, OfParts::units}};
  return all;
}

// The indices of each part of a variable of this shape.
std::vector<std::vector<size_t>> parts_of(OfParts::Parts kind, const Shape& shape) {
  if (kind == OfParts::units)
    kind = shape[0] == 1 || shape[1] == 1 ? OfParts::whole : OfParts::columns;
  const auto size = static_cast<size_t>(shape.size()), width = static_cast<size_t>(shape[1]);
  std::vector<std::vector<size_t>> parts(size);
  for (size_t i = 0; i < size; ++i)
    parts[kind == OfParts::whole ? 0 : kind == OfParts::rows ? i / width : i % width].push_back(i);
  std::erase(parts, std::vector<size_t>());
  return parts;
}

TEST(ClipProperty, EachPartOfAnySizeClipsToItsLimit) {
  holds(
      "parts above their limit come out at it, their direction kept, and the others as they were",
      [] {
        const Drawn d = draw(-38, 38);
        const auto& clip = clips_of_parts()[*rc::gen::inRange<size_t>(0, clips_of_parts().size())];
        RC_LOG() << clip.name;
        const double limit = std::max(draw_limit(d), 1e-37);
        const Lists before = dense(d.gradients), after = dense(once(clip.of(limit), d));
        for (size_t i = 0; i < before.size(); ++i) {
          if (before[i].empty()) continue;
          for (const auto& part : parts_of(clip.parts, d.shapes[i])) {
            std::vector<double> in, out;
            for (const size_t j : part) in.push_back(before[i][j]), out.push_back(after[i][j]);
            const double norm = p_norm({in}, 2), size = clip.measure(norm, part.size());
            const double factor = size > limit ? limit / size : 1;
            for (size_t k = 0; k < in.size(); ++k)
              RC_ASSERT(std::abs(out[k] - factor * in[k]) <=
                        1e-6 * std::abs(factor * in[k]) + 1e-44);
            if (size > limit)
              RC_ASSERT(std::abs(clip.measure(p_norm({out}, 2), part.size()) / limit - 1) <= 1e-6);
          }
        }
      });
}

TEST(ClipProperty, TheOrderOfVariablesDoesNotMatter) {
  holds("variables in reverse order are clipped alike", [] {
    const Drawn d = draw(-30, 37);
    const Named clip = draw_clip(all_clips());
    const double limit = draw_limit(d);
    Drawn other = d;
    other.shapes.assign(d.shapes.rbegin(), d.shapes.rend());
    other.gradients.assign(d.gradients.rbegin(), d.gradients.rend());
    const Lists one = dense(once(clip.of(limit), d));
    Lists two = dense(once(clip.of(limit), other));
    std::ranges::reverse(two);
    for (size_t i = 0; i < one.size(); ++i)
      for (size_t j = 0; j < one[i].size(); ++j)
        RC_ASSERT(std::abs(two[i][j] - one[i][j]) <= kRounding * std::abs(one[i][j]));
  });
}

TEST(ClipProperty, RepeatedRowsAreOneRow) {
  holds("rows are clipped as the array that they stand for", [] {
    const Drawn d = draw(-30, 37);
    const Named clip = draw_clip(all_clips());
    const double limit = draw_limit(d);
    Drawn whole = d;
    for (Gradient& g : whole.gradients)
      if (g && g.is_sparse()) g = Gradient(to_dense(g.sparse()));
    const Lists one = dense(once(clip.of(limit), d)), two = dense(once(clip.of(limit), whole));
    for (size_t i = 0; i < one.size(); ++i)
      for (size_t j = 0; j < one[i].size(); ++j)
        RC_ASSERT(std::abs(two[i][j] - one[i][j]) <= kRounding * std::abs(one[i][j]));
  });
}

// Clips whose limit comes from earlier steps, tight enough to clip often.
std::vector<std::pair<const char*, AnyTransform>> history_clips() {
  return {{"AutoClip", AutoClip{.percentile = 30, .window = 3}},
          {"ZClip", ZClip{.alpha = 0.5, .z_threshold = 0.1, .warmup = 2}},
          {"AdaptiveClipping", AdaptiveClipping{.std_factor = 0.1, .decay = 0.5}},
          {"AdaGC", AdaGC{.lambda_rel = 0.9, .lambda_abs = 0.5, .beta = 0.5, .warmup = 3}},
          {"ClipSpikes", ClipSpikes{.theta = 0.5, .beta2 = 0.5}}};
}

std::vector<Gradient> scaled(const std::vector<Gradient>& gradients, double factor) {
  std::vector<Gradient> out = gradients;
  for (Gradient& g : out) {
    if (!g) continue;
    Tensor values = g.values().clone();
    visit_float(values.dtype(), [&](auto zero) {
      using T = decltype(zero);
      for (T& v : values.flat<T>()) v = static_cast<T>(v * factor);
    });
    g = g.with_values(std::move(values));
  }
  return out;
}

TEST(HistoryClipProperty, NeverRaisesANormAndForgetsWhatIsSkipped) {
  holds("no norm is raised, and a step that was skipped changes no bit of later ones", [] {
    const Drawn d = draw(-10, 10);
    const auto clips = history_clips();
    const auto& [name, clip] = clips[*rc::gen::inRange<size_t>(0, clips.size())];
    RC_LOG() << name;
    bool skip = false;
    const auto check = [&skip](Gradients&, const Variables&, StepInfo& info) { info.skip = skip; };
    Steps plain(clip, d.shapes, d.dtype), skipping(chain(clip, check), d.shapes, d.dtype);
    const auto drawn = [&] {
      return scaled(d.gradients, std::pow(10.0, *rc::gen::inRange(-20, 21) / 10.0));
    };
    for (int step = 0; step < 6; ++step) {
      skip = true;
      skipping.step(drawn());
      skip = false;
      const auto in = drawn();
      const Lists before = dense(in), after = dense(plain.step(in));
      RC_ASSERT(dense(skipping.step(in)) == after);
      for (const double p : {1.0, 2.0, kInf})
        RC_ASSERT(p_norm(after, p) <= p_norm(before, p) * (1 + kRounding));
    }
  });
}

TEST(HistoryClipProperty, SameBitsForAnyNumberOfThreads) {
  const std::vector<Shape> shapes{{130, 257}, {40000}, {3}};
  for (const auto& [name, clip] : history_clips()) {
    std::vector<Lists> first;
    for (int threads : {1, 2, 3}) {
      ThreadTeam team(threads);
      Steps steps(clip, shapes, DType::float32);
      std::vector<Lists> got;
      bool clipped = false;
      for (uint64_t step = 0; step < 5; ++step) {
        Lists in;
        for (const Shape& s : shapes)
          in.push_back(noise(static_cast<size_t>(s.size()), 10 * step + in.size()));
        got.push_back(steps.step(step % 2 ? times(in, 3) : in, &team));
        clipped |= steps.info.clipped;
      }
      EXPECT_TRUE(clipped) << name;
      if (threads == 1) first = got;
      EXPECT_TRUE(got == first) << name << ", " << threads << " threads";
    }
  }
}

// Sizes above what one task takes, so that threads have something to share.
TEST(ClipProperty, SameBitsForAnyNumberOfThreads) {
  const std::vector<Shape> shapes{{130, 257}, {40000}, {3}, {16385, 1}};
  Lists in;
  for (const Shape& s : shapes) in.push_back(noise(static_cast<size_t>(s.size()), in.size()));
  for (const Named& clip : all_clips()) {
    Lists first;
    for (int threads : {1, 2, 3}) {
      ThreadTeam team(threads);
      Steps steps(clip.of(0.3), shapes, DType::float32);
      Lists got = steps.step(in, &team);
      got.push_back({steps.info.norm, steps.info.clipped_norm, steps.info.scale});
      if (threads == 1) first = got;
      EXPECT_EQ(got, first) << clip.name << ", " << threads << " threads";
    }
    EXPECT_LT(norm_of(first[0]), norm_of(in[0]));
  }
}

}  // namespace
}  // namespace rein
