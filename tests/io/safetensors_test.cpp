#include "rein/io/safetensors.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstring>

#include "rein/io/file.h"
#include "support/temporary_folder.h"

namespace rein {
namespace {

using test::contains;
using test::error_of;
using test::read_bytes;
using test::TemporaryFolder;
using test::write_bytes;

std::string file_of(std::string_view header, std::string_view numbers) {
  const uint64_t length = header.size();
  std::string file(sizeof length, '\0');
  std::memcpy(file.data(), &length, sizeof length);
  return file.append(header).append(numbers);
}

class Safetensors : public ::testing::Test {
 protected:
  std::string data_error(std::string_view bytes) {
    write_bytes(path, bytes);
    return error_of<DataError>([&] { read_safetensors(path); });
  }
  TemporaryFolder folder;
  std::filesystem::path path = folder / "model.safetensors";
};

TEST_F(Safetensors, RoundTrip) {
  TensorFile written{{{"a", Tensor::of<float>({2, 1}, {1.5f, -0.0f})},
                      {"b \"quoted\"/\xC3\xA9", Tensor::of<double>({}, {1e-310})},
                      {"c", Tensor::of<int32_t>({3}, {1, -2, 3})},
                      {"d", Tensor::of<int64_t>({1, 1, 1}, {int64_t{1} << 60})},
                      {"empty", Tensor({0, 4})}},
                     {{"epoch", "3"}, {"format", "rein"}}};
  write_safetensors(path, written);
  const TensorFile read = read_safetensors(path);
  EXPECT_EQ(read.metadata, written.metadata);
  ASSERT_EQ(read.tensors.size(), written.tensors.size());
  for (const NamedTensor& w : written.tensors) {
    const auto r = std::ranges::find(read.tensors, w.name, &NamedTensor::name);
    ASSERT_NE(r, read.tensors.end()) << w.name;
    ASSERT_EQ(r->tensor.spec(), w.tensor.spec()) << w.name;
    if (const size_t bytes = w.tensor.spec().bytes(); bytes > 0) {
      EXPECT_EQ(std::memcmp(r->tensor.data(), w.tensor.data(), bytes), 0) << w.name;
    }
  }
}

// The bytes that the format's description asks for.
TEST_F(Safetensors, WritesTheFormat) {
  write_safetensors(path, {{{"x", Tensor::of<float>({1}, {1})}}, {}});
  std::string header = R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
  header.resize(56, ' ');
  EXPECT_EQ(read_bytes(path), file_of(header, std::string("\0\0\x80\x3f", 4)));
}

TEST_F(Safetensors, NamesMustDiffer) {
  const Tensor t({1});
  EXPECT_THROW(write_safetensors(path, {{{"x", t}, {"x", t}}, {}}), InvalidArgument);
  EXPECT_THROW(write_safetensors(path, {{{"", t}}, {}}), InvalidArgument);
  EXPECT_THROW(write_safetensors(path, {{{"__metadata__", t}}, {}}), InvalidArgument);
  EXPECT_THROW(write_safetensors(path, {{{"\xFF", t}}, {}}), InvalidArgument);
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(Safetensors, DamagedHeader) {
  EXPECT_TRUE(contains(data_error(""), "cut off"));
  EXPECT_TRUE(contains(data_error("\xff\xff\xff\xff\xff\xff\xff\xff{}"), "cut off"));
  EXPECT_TRUE(contains(data_error(file_of("{}", "").substr(0, 9)), "cut off"));
  EXPECT_TRUE(contains(data_error(file_of("{\"x\":", "")), "not JSON"));
  EXPECT_TRUE(contains(data_error(file_of("[1]", "")), "not a JSON object"));
  EXPECT_TRUE(contains(data_error(file_of(std::string(100000, '['), "")), "not JSON"));
  EXPECT_TRUE(contains(data_error(file_of(R"({"__metadata__":{"a":1}})", "")), "not a string"));
}

struct Row {
  const char* entry;
  const char* error;
};

TEST_F(Safetensors, DamagedEntries) {
  const Row rows[] = {
      {R"("x":1)", "no list 'shape'"},
      {R"("x":{"dtype":"F32","shape":[2]})", "no list 'data_offsets'"},
      {R"("x":{"dtype":"F16","shape":[4],"data_offsets":[0,8]})", "dtype \"F16\""},
      {R"("x":{"shape":[2],"data_offsets":[0,8]})", "no 'dtype'"},
      {R"("x":{"dtype":"F32","shape":[-1],"data_offsets":[0,8]})", "not a size"},
      {R"("x":{"dtype":"F32","shape":[1.5],"data_offsets":[0,8]})", "not a size"},
      {R"("x":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,2],"data_offsets":[0,8]})", "9 axes"},
      {R"("x":{"dtype":"F32","shape":[4294967296,4294967296,4294967296],"data_offsets":[0,8]})",
       "more elements"},
      {R"("x":{"dtype":"F32","shape":[3],"data_offsets":[0,8]})", "does not take the 8 bytes"},
      {R"("x":{"dtype":"F32","shape":[4],"data_offsets":[0,16]})", "outside of the 8 bytes"},
      {R"("x":{"dtype":"F32","shape":[2],"data_offsets":[8,0]})", "outside"},
      {R"("x":{"dtype":"F32","shape":[2],"data_offsets":[0]})", "not two numbers"},
      {R"("x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]})", "4 bytes belong to no tensor"},
      {R"("x":{"dtype":"F32","shape":[1],"data_offsets":[4,8]})", "after byte 0"},
      {R"("x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
       R"("y":{"dtype":"F32","shape":[1],"data_offsets":[4,8]})",
       "before byte 8"},
      {R"("x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
       R"("x":{"dtype":"F32","shape":[1],"data_offsets":[4,8]})",
       "'x' occurs twice"},
  };
  for (const Row& row : rows) {
    const std::string text =
        data_error(file_of(std::string("{").append(row.entry).append("}"), std::string(8, '\0')));
    EXPECT_TRUE(contains(text, row.error)) << row.entry;
    EXPECT_TRUE(contains(text, path.string())) << row.entry;
  }
}

// Lists in lists, deeper than any stack.
TEST_F(Safetensors, ADeepHeaderIsRefused) {
  const std::string deep(1'000'000, '['), end(1'000'000, ']');
  for (const char* key : {"dtype", "shape"}) {
    std::string header = R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
    const std::string plain = std::string(key) == "dtype" ? R"("F32")" : "[1]";
    header.replace(header.find(plain), plain.size(), deep + "1" + end);
    EXPECT_TRUE(contains(data_error(file_of(header, "1234")), "tensor 'x'")) << key;
  }
}

// Cut anywhere, or with any one byte of the header changed, it is refused or read as something
// else, but nothing worse (run under the sanitizers).
TEST_F(Safetensors, SurvivesDamage) {
  write_safetensors(path, {{{"x", Tensor::of<float>({2}, {1, 2})}}, {{"k", "v"}}});
  const std::string good = read_bytes(path);
  for (size_t n = 0; n < good.size(); ++n) data_error(std::string_view(good).substr(0, n));
  for (size_t i = 0; i < good.size() - 8; ++i) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 0x11);
    write_bytes(path, bad);
    try {
      read_safetensors(path);
    } catch (const DataError&) {
    }
  }
}

class Weights : public Safetensors {
 protected:
  static Initializer filled(double value) {
    return [=](const Shape&, const RandomStream&, std::span<double> out) {
      std::ranges::fill(out, value);
    };
  }
};

TEST_F(Weights, RoundTripByName) {
  Variables written;
  written.add("a", {3}, filled(1.25));
  written.add("b", {2, 2}, filled(-7));
  save_variables(path, written, {{"epoch", "2"}});
  Variables read;
  read.add("b", {2, 2}, filled(0));  // another order
  read.add("a", {3}, filled(0));
  EXPECT_EQ(load_variables(path, read), (std::map<std::string, std::string>{{"epoch", "2"}}));
  EXPECT_EQ(read.at("a").read().flat<float>()[2], 1.25f);
  EXPECT_EQ(read.at("b").read().flat<float>()[3], -7.0f);
}

TEST_F(Weights, EveryDifferenceIsListedAndNothingChanged) {
  Variables written;
  written.add("same", {3}, filled(1));
  written.add("other shape", {2, 2}, filled(1));
  written.add("only in the file", {1}, filled(1));
  save_variables(path, written);
  Variables read;
  read.add("same", {3}, filled(0));
  read.add("other shape", {2, 3}, filled(0));
  read.add("only in the model", {5}, filled(0));
  const auto text = error_of<DataError>([&] { load_variables(path, read); });
  EXPECT_TRUE(contains(text, "'other shape' is float32 [2, 2], the model's is float32 [2, 3]"));
  EXPECT_TRUE(contains(text, "'only in the model' float32 [5] is missing"));
  EXPECT_TRUE(contains(text, "'only in the file' float32 [1] is not in the model"));
  EXPECT_FALSE(contains(text, "'same'"));
  EXPECT_EQ(read.at("same").read().flat<float>()[0], 0.0f);

  Variables doubles(Seed{}, DType::float64);
  doubles.add("same", {3}, filled(0));
  EXPECT_TRUE(contains(error_of<DataError>([&] { load_variables(path, doubles); }),
                       "'same' is float32 [3], the model's is float64 [3]"));
}

TEST(File, ReplacedInOneGo) {
  TemporaryFolder folder;
  write_file_atomically(folder / "f", "old");
  write_file_atomically(folder / "f", "new and longer");
  EXPECT_EQ(read_file(folder / "f", 100), "new and longer");
  EXPECT_THROW(read_file(folder / "f", 5), DataError);
  EXPECT_THROW(read_file(folder / "none", 5), IoError);
  EXPECT_THROW(read_file(folder.path(), 5), IoError);
  // Nothing is left beside it.
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
}

TEST(File, AFailureLeavesTheOldFile) {
  TemporaryFolder folder;
  // A folder cannot be replaced by a file.
  std::filesystem::create_directories(folder / "f");
  write_bytes(folder / "f/inside", "old");
  EXPECT_THROW(write_file_atomically(folder / "f", "new"), IoError);
  EXPECT_EQ(read_bytes(folder / "f/inside"), "old");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
  EXPECT_THROW(write_file_atomically(folder / "none/f", "new"), IoError);
}

// A disk that is full half-way.
TEST(File, AFullDiskLeavesTheOldFile) {
  TemporaryFolder folder;
  write_file_atomically(folder / "f", "old");
  struct rlimit before {};
  getrlimit(RLIMIT_FSIZE, &before);
  signal(SIGXFSZ, SIG_IGN);
  struct rlimit small = before;
  small.rlim_cur = 1000;
  setrlimit(RLIMIT_FSIZE, &small);
  EXPECT_THROW(write_file_atomically(folder / "f", std::string(5000, 'x')), IoError);
  setrlimit(RLIMIT_FSIZE, &before);
  signal(SIGXFSZ, SIG_DFL);
  EXPECT_EQ(read_bytes(folder / "f"), "old");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
}

}  // namespace
}  // namespace rein
