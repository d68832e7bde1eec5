// Values by name through a file.
#include "rein/io/state_file.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "rein/io/safetensors.h"
#include "support/temporary_folder.h"

namespace rein {
namespace {

TEST(StateFile, ComesBackToTheBit) {
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "state.safetensors";
  const double inf = std::numeric_limits<double>::infinity();
  StateDict state{{"yes", true},
                  {"no", false},
                  {"large", std::numeric_limits<int64_t>::min()},
                  {"three", 3.0},
                  {"tenth", 0.1},
                  {"huge", 1e300},
                  {"small", -5e-324},
                  {"zero", -0.0},
                  {"inf", inf},
                  {"minus inf", -inf},
                  {"nan", std::nan("")},
                  {"text", std::string("it's 'quoted'\n3.5 \xc3\xa4")},
                  {"empty", std::string()},
                  {"m/w", Tensor::of<float>({2, 1}, {1, -0.0F})},
                  {"scalar", Tensor::scalar(2.0)},
                  {"nothing", Tensor(Shape{0}, DType::int64)}};
  save_state(path, state);
  const StateDict back = load_state(path);
  ASSERT_EQ(back.size(), state.size());
  for (const auto& [name, value] : state) {
    const StateValue& got = back.at(name);
    ASSERT_EQ(got.index(), value.index()) << name;
    if (const auto* x = std::get_if<double>(&value)) {
      EXPECT_TRUE(std::memcmp(x, &std::get<double>(got), sizeof *x) == 0) << name;
    } else if (const auto* t = std::get_if<Tensor>(&value)) {
      const auto& u = std::get<Tensor>(got);
      ASSERT_EQ(u.spec(), t->spec()) << name;
      EXPECT_TRUE(t->size() == 0 || std::memcmp(t->data(), u.data(), t->spec().bytes()) == 0);
    } else if (const auto* s = std::get_if<std::string>(&value)) {
      EXPECT_EQ(*s, std::get<std::string>(got)) << name;
    } else if (const auto* i = std::get_if<int64_t>(&value)) {
      EXPECT_EQ(*i, std::get<int64_t>(got)) << name;
    } else {
      EXPECT_EQ(std::get<bool>(value), std::get<bool>(got)) << name;
    }
  }
}

TEST(StateFile, RefusesOtherFiles) {
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "other.safetensors";
  for (const char* text : {"plain", "", "1.5x", "99999999999999999999", "'", "1e"}) {
    write_safetensors(path, {{}, {{"name", text}}});
    EXPECT_THROW(load_state(path), DataError) << text;
  }
  EXPECT_THROW(save_state(path, {{"", true}}), InvalidArgument);
}

}  // namespace
}  // namespace rein
