// Settings that make no sense.
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <set>

#include "apply/rule_table.h"

namespace rein {
namespace {

const double kNaN = std::nan(""), kInf = std::numeric_limits<double>::infinity();

template <class R>
void expect_refused(const R& rule, const std::string& setting) {
  Variables vars;
  add_variable(vars, "w", {2, 2}, {1, 2, 3, 4});
  try {
    (void)AnyRule(rule).init(vars);
    ADD_FAILURE() << R::name << " takes this " << setting << ":\n" << to_string(settings_of(rule));
  } catch (const InvalidArgument& error) {
    const std::string text = error.what();
    EXPECT_TRUE(text.starts_with(R::name)) << text;
    EXPECT_NE(text.find(setting), std::string::npos) << text;
  }
}

// Numbers that are never right for a setting, by its name.
std::vector<double> wrong_numbers(const std::string& setting) {
  if (setting == "learning_rate" || setting == "epsilon" || setting == "weight_decay")
    return {-1, kNaN, kInf};
  const std::set<std::string> fractions{"momentum", "beta1", "beta2", "rho"};
  if (fractions.contains(setting)) return {-0.1, 1, 1.5, kNaN};
  if (setting == "beta2_decay" || setting == "learning_rate_power") return {0.5, -kInf, kNaN};
  if (setting == "clip_threshold") return {0, -1, kNaN};
  if (setting == "decrease") return {0, 1, -0.5, kNaN};
  if (setting == "increase") return {1, 0.5, kInf, kNaN};
  if (setting == "max_step") return {-1, kNaN};
  if (setting == "column_blocks") return {0, -1};
  return {-1, kNaN, kInf};  // amounts
}

// Puts each wrong number into each numeric setting of its own.
template <class R>
void expect_numbers_refused(const R& right) {
  R::fields(right, [&](std::string_view name, const auto& field) {
    using Field = std::remove_cvref_t<decltype(field)>;
    if constexpr (std::same_as<Field, double> || std::same_as<Field, int64_t> ||
                  std::same_as<Field, Schedule>) {
      const std::string setting(name);
      for (double number : wrong_numbers(setting)) {
        if (std::same_as<Field, int64_t> && !std::isfinite(number)) continue;
        R wrong = right;
        R::fields(wrong, [&](std::string_view n, auto& f) {
          if constexpr (std::same_as<std::remove_cvref_t<decltype(f)>, Field>)
            if (n == name) f = static_cast<Field>(number);
        });
        expect_refused(wrong, setting);
      }
    }
  });
}

TEST(RuleSettings, ThatMakeNoSenseAreNamed) {
  expect_numbers_refused(GradientDescent{});
  expect_numbers_refused(Momentum{.form = RuleForm::pytorch});
  expect_numbers_refused(Adam{.form = RuleForm::optax});
  expect_numbers_refused(AdamW{.form = RuleForm::optax});
  expect_numbers_refused(Adamax{});
  expect_numbers_refused(Nadam{});
  expect_numbers_refused(RAdam{});
  expect_numbers_refused(RMSProp{});
  expect_numbers_refused(Adagrad{.form = RuleForm::pytorch});
  expect_numbers_refused(Adadelta{});
  expect_numbers_refused(Ftrl{});
  expect_numbers_refused(Lion{});
  expect_numbers_refused(Rprop{});
  expect_numbers_refused(Lamb{});
  expect_numbers_refused(Lars{});
  expect_numbers_refused(Adafactor{});
  expect_numbers_refused(Muon{});
  expect_numbers_refused(ScheduleFreeAdamW{});
  expect_numbers_refused(WeightAverage{.rule = Adam{}});
  expect_numbers_refused(Lookahead{.rule = Adam{}});
}

TEST(RuleSettings, OfAnotherFormAreNamed) {
  expect_refused(Momentum{.dampening = 0.5}, "dampening");
  expect_refused(Momentum{.use_nesterov = true, .dampening = 0.5, .form = RuleForm::pytorch},
                 "dampening");
  expect_refused(Adam{.epsilon_root = 1e-8}, "epsilon_root");
  expect_refused(RMSProp{.epsilon_in_root = false}, "epsilon_in_root");
  expect_refused(RMSProp{.momentum = 0.9, .use_nesterov = true}, "use_nesterov");
  expect_refused(Adagrad{.rate_decay = 0.1}, "rate_decay");
  expect_refused(Ftrl{.learning_rate = 0}, "learning_rate");
  expect_refused(ScheduleFreeAdamW{.beta1 = 0}, "beta1");
  expect_refused(Rprop{.min_step = 2, .max_step = 1}, "max_step");
  expect_refused(Muon{.column_blocks = 3}, "cannot be cut into 3 blocks");

  expect_refused(Momentum{.form = RuleForm::optax}, "form must be one of");
  expect_refused(Adamax{.form = RuleForm::tensorflow}, "form must be one of");
  expect_refused(RAdam{.form = RuleForm::keras}, "form must be one of");
  expect_refused(Lamb{.form = RuleForm::pytorch}, "form must be one of");
  expect_refused(Lars{.form = RuleForm::keras}, "form must be one of");
  expect_refused(Adafactor{.form = RuleForm::optax}, "form must be one of");
  expect_refused(Muon{.form = RuleForm::keras}, "form must be one of");
}

TEST(RuleSettings, ThatFollowTheStepStopItBeforeAnythingChanges) {
  const Schedule momentum = [](int64_t t) { return t == 1 ? 1.5 : 0.9; };
  for (const AnyRule& rule :
       {AnyRule(Momentum{.momentum = momentum}), AnyRule(Adam{.beta1 = momentum}),
        AnyRule(AdamW{.beta1 = momentum})}) {
    Variables vars;
    add_variable(vars, "w", {2}, {1, 2});
    auto state = rule.init(vars);
    Gradients g(vars);
    g.set(0, vector({1, 1}));
    ThreadTeam team(1);
    apply_updates(vars, g, rule, state, {}, team);
    const auto before = everything(vars, state);
    EXPECT_THROW(apply_updates(vars, g, rule, state, {}, team), InvalidArgument);
    EXPECT_EQ(everything(vars, state), before);
  }
}

TEST(RuleSettings, OfGroupsAreThoseOfTheirRules) {
  Variables vars;
  add_variable(vars, "w", {2}, {1, 2});
  const AnyRule wrong = Adam{.beta1 = 1};
  for (const AnyRule& rule : {AnyRule(RuleGroups{.groups = {{"w", wrong}}, .otherwise = Adam{}}),
                              AnyRule(RuleGroups{.groups = {{"w", Adam{}}}, .otherwise = wrong}),
                              AnyRule(Muon{.others = wrong})})
    EXPECT_THROW((void)rule.init(vars), InvalidArgument);
}

TEST(RuleSettings, ThatDoLittleAreTaken) {
  Variables vars;
  add_variable(vars, "w", {2}, {1, 2});
  for (const AnyRule& rule :
       {AnyRule(GradientDescent{.learning_rate = 0}), AnyRule(Momentum{.momentum = 0}),
        AnyRule(Adam{.beta1 = 0, .beta2 = 0, .epsilon = 0}), AnyRule(Muon{.iterations = 0})})
    EXPECT_NO_THROW((void)rule.init(vars));
}

}  // namespace
}  // namespace rein
