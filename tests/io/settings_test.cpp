#include "rein/io/settings.h"

#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>

#include "rein/base/error.h"
#include "rein/io/json_lines.h"
#include "support/temporary_folder.h"

namespace rein {
namespace {

using test::contains;
using test::error_of;
using test::read_bytes;
using test::TemporaryFolder;
using test::write_bytes;

TEST(Settings, RoundTrip) {
  TemporaryFolder folder;
  const std::vector<Setting> written{
      {"zeta", true}, {"count", int64_t{-3}},
      {"rate", 1e-3}, {"third", 1.0 / 3},
      {"whole", 2.0}, {"text", std::string("with \"quotes\"\nand \\ lines \xC3\xA9")}};
  write_settings(folder / "s.toml", "a comment", written);
  const auto read = read_settings(folder / "s.toml");
  ASSERT_EQ(read.size(), written.size());
  for (size_t i = 0; i < read.size(); ++i) {
    EXPECT_EQ(read[i].key, written[i].key);
    EXPECT_EQ(read[i].value, written[i].value) << written[i].key;
  }
  EXPECT_EQ(read[1].place, "line 3, column 1");
  EXPECT_TRUE(contains(read_bytes(folder / "s.toml"), "# a comment\nzeta = true\ncount = -3\n"));
}

TEST(Settings, TablesAreDotted) {
  TemporaryFolder folder;
  write_bytes(folder / "s.toml", "b = 1\n[model]\nhidden = 5\na = 'x'\n");
  const auto read = read_settings(folder / "s.toml");
  ASSERT_EQ(read.size(), 3u);
  EXPECT_EQ(read[0].key, "b");
  EXPECT_EQ(read[1].key, "model.hidden");
  EXPECT_EQ(read[2].key, "model.a");
  EXPECT_EQ(read[2].place, "line 4, column 1");
}

TEST(Settings, ErrorsNameThePlace) {
  TemporaryFolder folder;
  const auto error = [&](std::string_view text) {
    write_bytes(folder / "s.toml", text);
    return error_of<DataError>([&] { read_settings(folder / "s.toml"); });
  };
  EXPECT_TRUE(contains(error("a = 1\nb ="), "s.toml: line 2, column"));
  EXPECT_TRUE(contains(error("a = 1\na = 2"), "line 2"));
  EXPECT_TRUE(contains(error("a = [1, 2]"), "line 1, column 1: 'a' is neither"));
  EXPECT_TRUE(contains(error("d = 2020-01-01"), "'d' is neither"));
  EXPECT_THROW(read_settings(folder / "none"), IoError);
}

TEST(JsonLines, OneObjectALine) {
  TemporaryFolder folder;
  {
    JsonLines log(folder / "m.jsonl");
    log.append({{"epoch", int64_t{1}}, {"loss", 0.1}, {"text", std::string("\"\n")}});
    // In the file already, while it is still open.
    EXPECT_EQ(read_bytes(folder / "m.jsonl"), "{\"epoch\":1,\"loss\":0.1,\"text\":\"\\\"\\n\"}\n");
  }
  JsonLines(folder / "m.jsonl")
      .append({{"ok", true},
               {"loss", std::numeric_limits<double>::quiet_NaN()},
               {"list", std::vector<double>{1, 0.5}}});
  std::ifstream file(folder / "m.jsonl");
  std::string first, second;
  std::getline(file, first);
  std::getline(file, second);
  EXPECT_EQ(nlohmann::json::parse(first)["loss"], 0.1);
  const auto json = nlohmann::json::parse(second);
  EXPECT_TRUE(json["loss"].is_null());
  EXPECT_EQ(json["list"][1], 0.5);
  EXPECT_THROW(JsonLines(folder / "none/m.jsonl"), IoError);
}

}  // namespace
}  // namespace rein
