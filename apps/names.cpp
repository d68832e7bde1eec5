#include "names.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <vector>

#include "rein/apply/rules.h"
#include "rein/base/text.h"
#include "rein/process/clip.h"
#include "usage_error.h"

namespace rein::app {
namespace {

struct NamedClip {
  std::string_view form, help;
  AnyTransform (*make)(double c);

  std::string_view name() const { return form.substr(0, form.find(':')); }
};

const NamedClip kClips[] = {
    {"value:C", "every element to [-C, C]",
     [](double c) -> AnyTransform { return ClipByValue{.min = -c, .max = c}; }},
    {"norm:C", "every variable's gradient to the norm C",
     [](double c) -> AnyTransform { return ClipByNorm{.clip_norm = c}; }},
    {"average:C", "every variable's gradient to C, its norm divided by its number of elements",
     [](double c) -> AnyTransform { return ClipByAverageNorm{.clip_norm = c}; }},
    {"rms:C", "every variable's gradient to the root mean square C",
     [](double c) -> AnyTransform { return ClipByBlockRms{.threshold = c}; }},
    {"global:C", "all gradients together to the norm C",
     [](double c) -> AnyTransform { return ClipByGlobalNorm{.clip_norm = c}; }},
    {"max_change:C", "every variable's gradient to the norm C, then all together",
     [](double c) -> AnyTransform { return MaxChange{.per_variable = c, .global = c}; }},
    {"agc:C", "every unit's gradient to C times the norm of its weights",
     [](double c) -> AnyTransform { return AdaptiveGradClip{.clipping = c}; }},
    {"autoclip:C", "the global norm to percentile C of the norms so far",
     [](double c) -> AnyTransform { return AutoClip{.percentile = c}; }},
    {"zclip:C", "global norms more than C deviations above their mean",
     [](double c) -> AnyTransform { return ZClip{.z_threshold = c}; }},
    {"adaptive:C", "the same of their logarithms, to the mean",
     [](double c) -> AnyTransform { return AdaptiveClipping{.std_factor = c}; }},
    {"adagc:C", "every variable's gradient to C times the mean of its norms",
     [](double c) -> AnyTransform { return AdaGC{.lambda_rel = c}; }},
    {"spikes:C", "elements whose square is more than C times its mean",
     [](double c) -> AnyTransform { return ClipSpikes{.theta = c}; }},
};

struct NamedRule {
  std::string_view name;
  AnyRule (*make)(double rate);
};

template <class R>
AnyRule of(double rate) {
  return R{.learning_rate = rate};
}

const NamedRule kRules[] = {
    {"adam", of<Adam>},
    {"adamw", of<AdamW>},
    {"amsgrad",
     [](double rate) -> AnyRule { return Adam{.learning_rate = rate, .amsgrad = true}; }},
    {"adamax", of<Adamax>},
    {"nadam", of<Nadam>},
    {"radam", of<RAdam>},
    {"sgd", of<GradientDescent>},
    {"momentum", of<Momentum>},
    {"rmsprop", of<RMSProp>},
    {"adagrad", of<Adagrad>},
    {"adadelta", of<Adadelta>},
    {"ftrl", of<Ftrl>},
    {"lion", of<Lion>},
    {"rprop", [](double rate) -> AnyRule { return Rprop{.initial_step = rate}; }},
    {"lamb", of<Lamb>},
    {"lars", of<Lars>},
    {"adafactor", of<Adafactor>},
    {"muon", of<Muon>},
    {"schedule_free", of<ScheduleFreeAdamW>},
};

}  // namespace

AnyTransform make_clip(std::string_view form) {
  if (form == "none") return MeasureNorm{};
  const size_t colon = form.find(':');
  const auto* clip = std::ranges::find(kClips, form.substr(0, colon), &NamedClip::name);
  if (clip != std::end(kClips) && colon != std::string_view::npos) {
    double c = 0;
    const char* const last = form.data() + form.size();
    const auto [end, error] = std::from_chars(form.data() + colon + 1, last, c);
    if (error == std::errc() && end == last && c > 0) return clip->make(c);
  }
  std::string forms = fmt::format("  {:<13} gradients as they are", "none");
  for (const NamedClip& c : kClips) forms += fmt::format("\n  {:<13} {}", c.form, c.help);
  throw UsageError(
      fmt::format("clip: '{}' is none of these, with C a positive number:\n{}", form, forms));
}

AnyRule make_rule(std::string_view name, double learning_rate) {
  const auto* rule = std::ranges::find(kRules, name, &NamedRule::name);
  if (rule != std::end(kRules)) return rule->make(learning_rate);
  std::vector<std::string_view> names;
  for (const NamedRule& r : kRules) names.push_back(r.name);
  throw UsageError(fmt::format("optimizer: '{}' is none of {}{}", name, rule_names(),
                               did_you_mean(name, names)));
}

std::string rule_names() {
  std::string names;
  for (const NamedRule& rule : kRules)
    names += fmt::format("{}{}", names.empty() ? "" : ", ", rule.name);
  return names;
}

}  // namespace rein::app
