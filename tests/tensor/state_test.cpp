// Values by name: saved, compared, loaded.
#include "rein/tensor/state.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "support/error_text.h"

namespace rein {
namespace {

enum class Mood : uint8_t { glad, sad };
std::string_view to_string(Mood mood) { return mood == Mood::glad ? "glad" : "sad"; }

struct Inner {
  double x = 0;
  std::vector<float> window{};
  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("x", self.x);
    f("window", self.window);
  }
};

struct Everything {
  int64_t step = 0;
  bool flag = false;
  float small = 0;
  Mood mood = Mood::glad;
  std::string text{};
  std::vector<char> met{};
  std::optional<Inner> maybe{};
  std::vector<Inner> list{2};
  Tensor numbers{};
  Slot slot{};
  AnyState other{Inner{}};
  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("step", self.step);
    f("flag", self.flag);
    f("small", self.small);
    f("mood", self.mood);
    f("text", self.text);
    f("met", self.met);
    f("maybe", self.maybe);
    f("list", self.list);
    f("numbers", self.numbers);
    f("slot", self.slot);
    f("other", self.other);
  }
};

Variables& add_two(Variables& variables) {
  const Initializer none = [](const Shape&, const RandomStream&, std::span<double>) {};
  variables.add("a/w", {2, 2}, none);
  variables.add("b", {3}, none);
  return variables;
}

Everything filled(Variables& variables) {
  Everything e;
  e.step = int64_t{1} << 60;
  e.flag = true;
  e.small = 0.1F;
  e.mood = Mood::sad;
  e.text = "text";
  e.met = {0, 1, 2};
  e.maybe = Inner{std::nan(""), {1.5F}};
  e.list[1].x = 1e-320;
  e.numbers = Tensor::of<int32_t>({2}, {4, 5});
  e.slot = Slot("m", variables);
  e.slot.assign(variables[0], Tensor::of<float>({2, 2}, {1, 2, 3, 4}));
  e.slot.assign(variables[1], Tensor::of<float>({3}, {5, 6, -0.0F}));
  e.other.as<Inner>().x = 7;
  return e;
}

void load(Everything& e, const StateDict& dict) {
  StateReader reader(dict);
  load_fields("top", e, reader);
  reader.check("load", Where::here());
  load_fields("top", e, reader);
}

TEST(State, ComesBackToTheBit) {
  Variables variables;
  add_two(variables);
  StateDict saved;
  save_fields("top", filled(variables), saved);
  EXPECT_TRUE(saved.contains("top/slot/a/w") && saved.contains("top/maybe/window") &&
              saved.contains("top/list/1/x") && saved.contains("top/other/x"));

  Everything e;
  e.slot = Slot("m", variables);
  load(e, saved);
  EXPECT_EQ(e.step, int64_t{1} << 60);
  EXPECT_TRUE(e.flag);
  EXPECT_EQ(e.small, 0.1F);
  EXPECT_EQ(e.mood, Mood::sad);
  EXPECT_EQ(e.text, "text");
  EXPECT_EQ(e.met, (std::vector<char>{0, 1, 2}));
  ASSERT_TRUE(e.maybe);
  EXPECT_TRUE(std::isnan(e.maybe->x));
  EXPECT_EQ(e.maybe->window, std::vector<float>{1.5F});
  EXPECT_EQ(e.list[1].x, 1e-320);
  EXPECT_EQ(e.numbers.flat<int32_t>()[1], 5);
  EXPECT_EQ(e.slot.read(variables[0]).flat<float>()[3], 4);
  EXPECT_TRUE(std::signbit(e.slot.read(variables[1]).flat<float>()[2]));
  EXPECT_EQ(e.other.as<Inner>().x, 7);

  // What is loaded shares no memory with the file.
  std::get<Tensor>(saved.at("top/numbers")).flat<int32_t>()[1] = 0;
  EXPECT_EQ(e.numbers.flat<int32_t>()[1], 5);
}

TEST(State, AnOptionalThatWasEmptyBecomesEmpty) {
  Variables variables;
  add_two(variables);
  Everything e = filled(variables);
  StateDict saved;
  save_fields("top", e, saved);
  saved.erase("top/maybe/x");
  saved.erase("top/maybe/window");
  load(e, saved);
  EXPECT_FALSE(e.maybe);
}

TEST(State, ListsAllDifferencesAndChangesNothing) {
  Variables variables;
  add_two(variables);
  Everything e = filled(variables);
  StateDict saved;
  save_fields("top", e, saved);
  saved.erase("top/text");
  saved["top/step"] = 1.5;
  saved["top/slot/b"] = Tensor::of<float>({2}, {1, 2});
  saved["top/met"] = Tensor::of<float>({2}, {1, 2});
  saved["top/mood"] = std::string("angry");
  saved["top/extra"] = true;
  saved["top/flag"] = false;  // would be loaded
  try {
    load(e, saved);
    FAIL();
  } catch (const InvalidArgument& error) {
    const std::string text = error.what();
    for (const char* part : {"missing: 'top/text'", "unexpected: 'top/extra' (true)", "'top/step'",
                             "1.5 saved", "'top/slot/b': float32 [3] here, float32 [2] saved",
                             "'top/met'", "'top/mood'", "angry", "state_test.cpp"})
      EXPECT_NE(text.find(part), std::string::npos) << part << "\nin " << text;
  }
  EXPECT_TRUE(e.flag);
  EXPECT_EQ(e.slot.read(variables[1]).flat<float>()[0], 5);
}

struct Lists {
  std::vector<double> of_variables{1, 2, 3};
  GrowingList newest{4};
  template <class Self, class F>
  static void fields(Self& self, F&& f) {
    f("of_variables", self.of_variables);
    f("newest", self.newest);
  }
};

Lists loaded(const Lists& from) {
  StateDict saved;
  save_fields("", from, saved);
  Lists to;
  StateReader reader(saved);
  load_fields("", to, reader);
  reader.check("load", Where{});
  load_fields("", to, reader);
  return to;
}

// What has a number for each variable would be read beyond its end.
TEST(State, ListsKeepTheirLengthUnlessTheyGrow) {
  EXPECT_EQ(loaded({{7, 8, 9}, {4, 5, 6}}).newest, (GrowingList{4, 5, 6}));
  const std::string text = test::error_of([] { loaded({{1, 2}, {4}}); });
  EXPECT_NE(text.find("'of_variables': 3 numbers here, float64 [2] saved"), std::string::npos)
      << text;
}

TEST(State, SettingsMustBeTheSameUnlessTheyDoNotMatter) {
  Inner a{0.1, {}}, b{0.1, {}};
  StateDict saved;
  save_settings(settings_of(a), saved);
  const auto load = [&](SavedSettings mode) {
    StateReader reader(saved);
    load_settings(settings_of(b), mode, reader);
    reader.check("load", Where::here());
  };
  load(SavedSettings::must_match);
  b.x = std::nextafter(0.1, 1.0);
  EXPECT_THROW(load(SavedSettings::must_match), InvalidArgument);
  load(SavedSettings::do_not_matter);
}

TEST(AnyState, RefusesAnotherTypeAndWhatDoesNotListItself) {
  struct Silent {
    int x = 1;
  };
  AnyState state{Silent{}};
  EXPECT_EQ(state.as<Silent>().x, 1);
  EXPECT_THROW(state.as<Inner>(), InvalidArgument);
  StateDict out;
  try {
    state.save("process/0", out);
    FAIL();
  } catch (const InvalidArgument& error) {
    EXPECT_NE(std::string(error.what()).find("'process/0' does not list"), std::string::npos);
  }
  static_assert(!std::is_copy_constructible_v<AnyState>);
}

}  // namespace
}  // namespace rein
