#include "names.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <limits>
#include <optional>
#include <type_traits>
#include <vector>

#include "form.h"
#include "rein/apply/rules.h"
#include "rein/apply/schedules.h"
#include "rein/process/clip.h"
#include "rein/process/finite.h"

namespace rein::app {
namespace {

struct NamedClip {
  std::string_view form, help;
  // No transform if the number is missing.
  std::optional<AnyTransform> (*make)(const Form& form, std::string_view option);
  bool reads_parameters = false;

  std::string_view name() const { return form.substr(0, form.find(':')); }
};

// What `make` makes of a text; what the library refuses of it is an error that names the text.
template <class F>
auto checked(std::string_view option, std::string_view text, F make) {
  try {
    return make();
  } catch (const InvalidArgument& e) {
    throw UsageError(fmt::format("{}: '{}': {}", option, text, e.what()));
  }
}

// The same of a transform or a rule, whose settings are looked at when it is about to begin.
template <class T>
T begun(std::string_view option, std::string_view text, T made) {
  checked(option, text, [&] { made.init(Variables{}); });
  return made;
}

double number_of(double x) { return x; }
double number_of(const Threshold& x) { return x.at(StepInfo{.examples = 1}); }

// A clip whose number is the field `number`. A limit of norms, a Threshold, must be given, as it
// depends on the gradients alone; factors and percentiles have values that are usual.
template <class T, auto... number>
std::optional<AnyTransform> clip(const Form& form, std::string_view option) {
  constexpr double kNoLimit = std::numeric_limits<double>::infinity();
  constexpr bool is_limit = (std::is_same_v<std::decay_t<decltype(T{}.*number)>, Threshold> && ...);
  T made{};
  double c = kNoLimit;
  const bool given = form.positive(c);
  if (!given && (!form.main.empty() || form.settings.empty())) return std::nullopt;
  if (given || is_limit) ((made.*number = c), ...);
  form.set(option, made);
  if (!given && ((number_of(made.*number) == kNoLimit) && ...)) return std::nullopt;
  if (given && ((number_of(made.*number) != c) && ...))
    throw UsageError(
        fmt::format("{}: '{}' says in two ways what C is; leave the {} or its setting "
                    "away",
                    option, form.text, form.main));
  return made;
}

std::optional<AnyTransform> clip_by_value(const Form& form, std::string_view option) {
  ClipByValue made;
  double c = 0;
  if (form.positive(c))
    made.min = -c, made.max = c;
  else if (!form.main.empty() || form.settings.empty())
    return std::nullopt;
  form.set(option, made);
  if (form.main.empty() && !(form.names("min") && form.names("max")))
    throw UsageError(fmt::format("{}: '{}' is one bound; give min and max", option, form.text));
  return made;
}

constexpr bool kReadsParameters = true;

const NamedClip kClips[] = {
    {"value:C", "every element to [-C, C]", clip_by_value},
    {"norm:C", "every variable's gradient to the norm C", clip<ClipByNorm, &ClipByNorm::clip_norm>},
    {"average:C", "every variable's gradient to C, its norm divided by its number of elements",
     clip<ClipByAverageNorm, &ClipByAverageNorm::clip_norm>},
    {"rms:C", "every variable's gradient to the root mean square C",
     clip<ClipByBlockRms, &ClipByBlockRms::threshold>},
    {"global:C", "all gradients together to the norm C",
     clip<ClipByGlobalNorm, &ClipByGlobalNorm::clip_norm>},
    {"max_change:C", "every variable's gradient to the norm C, then all together",
     clip<MaxChange, &MaxChange::per_variable, &MaxChange::global>},
    {"agc:C", "every unit's gradient to C times the norm of its weights",
     clip<AdaptiveGradClip, &AdaptiveGradClip::clipping>, kReadsParameters},
    {"autoclip:C", "the global norm to percentile C of the norms so far",
     clip<AutoClip, &AutoClip::percentile>},
    {"zclip:C", "global norms more than C deviations above their mean",
     clip<ZClip, &ZClip::z_threshold>},
    {"adaptive:C", "the same of their logarithms, to the mean",
     clip<AdaptiveClipping, &AdaptiveClipping::std_factor>},
    {"adagc:C", "every variable's gradient to C times the mean of its norms",
     clip<AdaGC, &AdaGC::lambda_rel>},
    {"spikes:C", "elements whose square is more than C times its mean",
     clip<ClipSpikes, &ClipSpikes::theta>},
};

std::string clip_forms() {
  std::string forms = fmt::format("  {:<13} gradients as they are", "none");
  for (const NamedClip& c : kClips) forms += fmt::format("\n  {:<13} {}", c.form, c.help);
  return forms;
}

// The end of the table if there is none.
const NamedClip* find_clip(const Form& form) {
  return std::ranges::find(kClips, form.name, &NamedClip::name);
}

AnyTransform one_clip(std::string_view text, std::string_view option) {
  if (text == "none")
    throw UsageError(fmt::format("{}: none stands alone; leave it, or the others, away", option));
  const Form form(text);
  const NamedClip* found = find_clip(form);
  if (found != std::end(kClips)) {
    if (auto made = found->make(form, option)) return begun(option, text, *std::move(made));
    throw UsageError(fmt::format(
        "{}: '{}' needs its C, a positive number{}, as in {}: {}", option, text,
        form.main.empty() || form.main == "?" ? "" : fmt::format(", which '{}' is not", form.main),
        found->form, found->help));
  }
  std::vector<std::string_view> names;  // that it may be meant to be
  for (const NamedClip& c : kClips) names.push_back(c.name());
  const std::string near = did_you_mean(form.name, names);
  throw UsageError(fmt::format("{}: '{}' is none of these, with C a positive number{}\n{}", option,
                               text, near.empty() ? ":" : near, clip_forms()));
}

// A `+` is between clips where a name follows; in 1e+5 none does.
std::vector<std::string_view> clips_of(std::string_view text) {
  std::vector<std::string_view> parts;
  size_t begin = 0;
  for (size_t i = 0; i + 1 < text.size(); ++i)
    if (text[i] == '+' && std::isalpha(static_cast<unsigned char>(text[i + 1]))) {
      parts.push_back(text.substr(begin, i - begin));
      begin = i + 1;
    }
  parts.push_back(text.substr(begin));
  return parts;
}

struct NamedRule {
  std::string_view name;
  AnyRule (*make)(const Form& form, const Schedule& rate);
  double (*usual_rate)();
};

template <class R>
double rate_of() {
  return R{}.learning_rate.at(0);
}

AnyRule with_settings(const Form& form, auto rule) {
  form.set("optimizer", rule);
  return rule;
}

template <class R>
AnyRule of(const Form& form, const Schedule& rate) {
  return with_settings(form, R{.learning_rate = rate});
}

AnyRule amsgrad(const Form& form, const Schedule& rate) {
  return with_settings(form, Adam{.learning_rate = rate, .amsgrad = true});
}

AnyRule rprop(const Form& form, const Schedule& rate) {
  if (!rate.is_constant())
    throw UsageError(
        "optimizer: 'rprop' takes the learning rate as the first step of every weight, and no "
        "schedule or warmup changes it later; leave them out, or take another optimizer");
  return with_settings(form, Rprop{.initial_step = rate.at(0)});
}

const NamedRule kRules[] = {
    {"adam", of<Adam>, rate_of<Adam>},
    {"adamw", of<AdamW>, rate_of<AdamW>},
    {"amsgrad", amsgrad, rate_of<Adam>},
    {"adamax", of<Adamax>, rate_of<Adamax>},
    {"nadam", of<Nadam>, rate_of<Nadam>},
    {"radam", of<RAdam>, rate_of<RAdam>},
    {"sgd", of<GradientDescent>, rate_of<GradientDescent>},
    {"momentum", of<Momentum>, rate_of<Momentum>},
    {"rmsprop", of<RMSProp>, rate_of<RMSProp>},
    {"adagrad", of<Adagrad>, rate_of<Adagrad>},
    {"adadelta", of<Adadelta>, rate_of<Adadelta>},
    {"ftrl", of<Ftrl>, rate_of<Ftrl>},
    {"lion", of<Lion>, rate_of<Lion>},
    {"rprop", rprop, [] { return Rprop{}.initial_step; }},
    {"lamb", of<Lamb>, rate_of<Lamb>},
    {"lars", of<Lars>, rate_of<Lars>},
    {"adafactor", of<Adafactor>, rate_of<Adafactor>},
    {"muon", of<Muon>, rate_of<Muon>},
    {"schedule_free", of<ScheduleFreeAdamW>, rate_of<ScheduleFreeAdamW>},
};

struct NamedSchedule {
  std::string_view name;
  Schedule (*make)(const Form& form, double rate, int64_t steps);
};

// From the rate on, over all steps.
template <class S, auto rate_field, auto steps_field>
Schedule decay(const Form& form, double rate, int64_t steps) {
  S made{};
  made.*rate_field = rate;
  made.*steps_field = static_cast<std::remove_reference_t<decltype(made.*steps_field)>>(steps);
  form.set("schedule", made);
  return Schedule(made, Where{});
}

struct NoSettings {
  template <class Self, class F>
  static void fields(Self&, F&&) {}
};

Schedule constant(const Form& form, double rate, int64_t) {
  NoSettings none;
  form.set("schedule", none);
  return rate;
}

const NamedSchedule kSchedules[] = {
    {"constant", constant},
    {"exponential",
     decay<ExponentialDecay, &ExponentialDecay::initial, &ExponentialDecay::decay_steps>},
    {"natural", decay<NaturalExpDecay, &NaturalExpDecay::initial, &NaturalExpDecay::decay_steps>},
    {"inverse_time",
     decay<InverseTimeDecay, &InverseTimeDecay::initial, &InverseTimeDecay::decay_steps>},
    {"polynomial",
     decay<PolynomialDecay, &PolynomialDecay::initial, &PolynomialDecay::decay_steps>},
    {"cosine", decay<CosineDecay, &CosineDecay::initial, &CosineDecay::decay_steps>},
    {"linear_cosine",
     decay<LinearCosineDecay, &LinearCosineDecay::initial, &LinearCosineDecay::decay_steps>},
    {"cosine_restarts",
     decay<CosineRestarts, &CosineRestarts::initial, &CosineRestarts::first_decay_steps>},
    {"one_cycle", decay<OneCycle, &OneCycle::max, &OneCycle::total_steps>},
};

struct NamedPolicy {
  NonFinite policy;
  std::string_view help;
  std::string_view name = to_string(policy);
};
const NamedPolicy kPolicies[] = {
    {NonFinite::stop, "training ends before it, with exit code 4"},
    {NonFinite::skip, "it is left out"},
    {NonFinite::zero, "numbers of gradients that are not finite become 0"},
    {NonFinite::propagate,
     "it is taken: weights become NaN and stay so; exit code 0, and a warning"}};

std::string policy_forms() {
  std::string forms;
  for (const NamedPolicy& p : kPolicies) forms += fmt::format("\n  {:<13} {}", p.name, p.help);
  return forms;
}

struct NamedRollback {
  std::string_view name;
  bool on;
};
const NamedRollback kRollbacks[] = {{"none", false}, {"on", true}};

template <class Table>
std::string names_of(const Table& table) {
  std::string names;
  for (const auto& row : table) names += fmt::format("{}{}", names.empty() ? "" : ", ", row.name);
  return names;
}

template <class Row, size_t N>
const Row& row_of(const Row (&table)[N], std::string_view name, std::string_view option) {
  std::vector<std::string_view> names;
  for (const Row& row : table) {
    if (row.name == name) return row;
    if (name.starts_with(row.name) && name.substr(row.name.size()).starts_with(','))
      throw UsageError(fmt::format("{}: '{}': settings stand behind a colon, as in {}:{}", option,
                                   name, row.name, name.substr(row.name.size() + 1)));
    names.push_back(row.name);
  }
  throw UsageError(fmt::format("{}: '{}' is none of {}{}", option, name, names_of(table),
                               did_you_mean(name, names)));
}

// A form that has only settings.
Form settings_form(std::string_view text, std::string_view option) {
  const Form form(text);
  if (!form.main.empty())
    throw UsageError(
        fmt::format("{}: '{}': setting=value is expected after '{}:'", option, text, form.name));
  return form;
}

}  // namespace

AnyTransform make_clip(std::string_view text, std::string_view option) {
  if (text == "none") return MeasureNorm{};
  const auto parts = clips_of(text);
  if (parts.size() == 1) return one_clip(text, option);
  Chain chain;
  for (const std::string_view part : parts) chain.parts.push_back(one_clip(part, option));
  return chain;
}

bool clip_reads_parameters(std::string_view text) {
  return std::ranges::any_of(clips_of(text), [](std::string_view part) {
    const NamedClip* found = find_clip(Form(part));
    return found != std::end(kClips) && found->reads_parameters;
  });
}

bool names_setting(std::string_view text, std::string_view setting) {
  return Form(text).names(setting);
}

AnyRule make_rule(std::string_view text, const Schedule& learning_rate) {
  const Form form = settings_form(text, "optimizer");
  return begun("optimizer", text, row_of(kRules, form.name, "optimizer").make(form, learning_rate));
}

double usual_learning_rate(std::string_view optimizer) {
  return row_of(kRules, Form(optimizer).name, "optimizer").usual_rate();
}

Schedule make_schedule(std::string_view text, double learning_rate, int64_t steps, int64_t warmup) {
  const Form form = settings_form(text, "schedule");
  const NamedSchedule& row = row_of(kSchedules, form.name, "schedule");
  const int64_t left = std::max<int64_t>(1, steps - warmup);
  const Schedule schedule =
      checked("schedule", text, [&] { return row.make(form, learning_rate, left); });
  return warmup > 0 ? Schedule(Warmup{.steps = warmup, .then = schedule}) : schedule;
}

AnyTransform make_check(std::string_view text) {
  const Form form = settings_form(text, "non_finite");
  if (form.names("policy"))
    throw UsageError(
        fmt::format("non_finite: '{}' is a policy; leave the setting policy away", form.name));
  CheckFinite check{.policy = row_of(kPolicies, form.name, "non_finite").policy};
  form.set("non_finite", check);
  return begun("non_finite", text, AnyTransform(check));
}

std::optional<Rollback> make_rollback(std::string_view text) {
  const Form form = settings_form(text, "rollback");
  if (!row_of(kRollbacks, form.name, "rollback").on) {
    NoSettings none;
    form.set("rollback", none);
    return std::nullopt;
  }
  Rollback made;
  form.set("rollback", made);
  return made;
}

std::string list_of_names() {
  return fmt::format(
      "Clips (--clip, --clip-updates), several with + between them, as in value:1+global:5:\n{}\n\n"
      "What becomes of a step that is not finite (--non-finite):{}\n\n"
      "Optimizers: {}\nSchedules: {}\n"
      "Rollback to a copy of healthy parameters, with a lower learning rate: {}\n\n"
      "Each takes its settings as name:setting=value,...: norm:1,semantics=keras or "
      "adamw:weight_decay=0.1;\nan unknown setting lists those there are.",
      clip_forms(), policy_forms(), names_of(kRules), names_of(kSchedules), names_of(kRollbacks));
}

ProductOptions make_products(std::string_view text) {
  if (const auto precision = precision_of(text)) return {.precision = *precision};
  throw UsageError(fmt::format("precision: '{}' is none of f32, bf16, bf16x3", text));
}

NarrowUnit make_unit(std::string_view text) {
  if (const auto unit = narrow_unit_of(text)) return *unit;
  throw UsageError(fmt::format("unit: '{}' is none of amx, avx512_bf16", text));
}

void check_possible(const ProductOptions& products) {
  if (const std::string why = why_not(products); !why.empty())
    throw UsageError(fmt::format("precision: {}: {}", to_string(products.precision), why));
}

}  // namespace rein::app
