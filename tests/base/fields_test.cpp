// Settings that list themselves.
#include "rein/base/fields.h"

#include <gtest/gtest.h>

#include "rein/base/schedule.h"

namespace rein {
namespace {

enum class Plain : uint8_t { a, b };
enum class Spoken : uint8_t { left, right };
std::string_view to_string(Spoken s) { return s == Spoken::left ? "left" : "right"; }

struct Inner {
  double x = 0.5;
  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("x", self.x);
  }
};

struct Outer {
  float small = 0.25F;
  int64_t count = 3;
  size_t size = 4;
  bool flag = true;
  Plain plain = Plain::b;
  Spoken spoken = Spoken::right;
  std::string text = "t";
  std::vector<double> numbers{1, 2.5};
  std::vector<Inner> list{{1}, {2}};
  std::optional<double> none{}, some = 7.0;
  Inner inner{};
  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("small", self.small);
    f("count", self.count);
    f("size", self.size);
    f("flag", self.flag);
    f("plain", self.plain);
    f("spoken", self.spoken);
    f("text", self.text);
    f("numbers", self.numbers);
    f("list", self.list);
    f("none", self.none);
    f("some", self.some);
    f("inner", self.inner);
  }
};

TEST(Fields, OfEveryKindAsText) {
  static_assert(HasFields<Outer> && !HasFields<double>);
  EXPECT_EQ(to_string(settings_of(Outer{})),
            "small: 0.25\ncount: 3\nsize: 4\nflag: true\nplain: 1\nspoken: 'right'\ntext: 't'\n"
            "numbers: [1, 2.5]\nlist/0/x: 1\nlist/1/x: 2\nsome: 7\ninner/x: 0.5\n");
}

TEST(Fields, EqualOrNot) {
  Outer a, b;
  EXPECT_EQ(settings_of(a).fields, settings_of(b).fields);
  b.list[1].x = 2.0000000000000004;
  EXPECT_NE(settings_of(a).fields, settings_of(b).fields);
}

struct Doubler {
  void leaf(const std::string&, double& x) const { x *= 2; }
  template <class T>
  void leaf(const std::string&, T&) const {}
};

TEST(Fields, VisitorsMayWrite) {
  Outer a;
  visit_fields("", a, Doubler{});
  EXPECT_EQ(a.inner.x, 1);
  EXPECT_EQ(a.list[1].x, 4);
  EXPECT_EQ(*a.some, 14);
}

struct Halving {
  static constexpr std::string_view name = "Halving";
  double initial = 1;
  void check(Where where) const {
    if (!(initial > 0)) throw InvalidArgument(name, "initial must be positive", where);
  }
  double at(int64_t step) const { return initial / static_cast<double>(1 + step); }
  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("initial", self.initial);
  }
};

struct WithSchedules {
  Schedule a = 0.25, b = Halving{.initial = 8},
           c = [](int64_t step) { return 3.0 * static_cast<double>(step); };
  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("a", self.a);
    f("b", self.b);
    f("c", self.c);
  }
};

TEST(Schedule, NumberStructOrFunction) {
  const WithSchedules s;
  EXPECT_EQ(s.a.at(5), 0.25);
  EXPECT_EQ(s.b.at(3), 2);
  EXPECT_EQ(s.c.at(5), 15);
  EXPECT_TRUE(s.a.is_constant());
  EXPECT_FALSE(s.b.is_constant() || s.c.is_constant());
  EXPECT_EQ(to_string(settings_of(s)), "a: 0.25\nb: 'Halving'\nb/initial: 8\nc: 'a function'\n");
}

TEST(Schedule, RefusesSettingsWhereItIsMade) {
  const int line = __LINE__ + 2;
  try {
    const Schedule s = Halving{.initial = 0};
    FAIL() << s.at(0);
  } catch (const InvalidArgument& e) {
    EXPECT_NE(std::string(e.what()).find("fields_test.cpp:" + std::to_string(line)),
              std::string::npos)
        << e.what();
  }
}

}  // namespace
}  // namespace rein
