#include "rein/data/idx.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include "rein/base/error.h"
#include "rein/data/images.h"
#include "support/temporary_folder.h"

namespace rein {
namespace {

using test::contains;
using test::error_of;
using test::TemporaryFolder;
using test::write_bytes;

std::string idx(std::initializer_list<uint32_t> dims, std::string_view bytes, char type = 0x08) {
  std::string file{0, 0, type, static_cast<char>(dims.size())};
  for (uint32_t d : dims)
    for (int shift : {24, 16, 8, 0}) file += static_cast<char>(d >> shift & 255);
  return file.append(bytes);
}

std::string gzipped(std::string_view bytes) {
  z_stream z{};
  deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&z, bytes.size()), '\0');
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  z.avail_in = static_cast<uInt>(bytes.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data());
  z.avail_out = static_cast<uInt>(out.size());
  deflate(&z, Z_FINISH);
  out.resize(z.total_out);
  deflateEnd(&z);
  return out;
}

class Idx : public ::testing::Test {
 protected:
  std::string data_error(std::string_view bytes, int rank = 2) {
    write_bytes(folder / "file", bytes);
    return error_of<DataError>([&] { read_idx(folder / "file", rank); });
  }
  TemporaryFolder folder;
};

TEST_F(Idx, PlainAndCompressed) {
  const std::string file = idx({2, 3}, std::string("\0\1\2\3\4\377", 6));
  for (const std::string& bytes : {file, gzipped(file)}) {
    write_bytes(folder / "file", bytes);
    const ByteArray array = read_idx(folder / "file", 2);
    EXPECT_EQ(array.shape, (Shape{2, 3}));
    EXPECT_EQ(array.values, (std::vector<uint8_t>{0, 1, 2, 3, 4, 255}));
  }
}

TEST_F(Idx, MissingFile) {
  const auto text = error_of<IoError>([&] { read_idx(folder / "none", 1); });
  EXPECT_TRUE(contains(text, "none"));
  EXPECT_TRUE(contains(text, "No such file"));
  EXPECT_THROW(read_idx(folder.path(), 1), IoError);
}

TEST_F(Idx, Truncated) {
  const std::string file = idx({3, 4}, "aaaabbbbcccc");
  const auto text = data_error(file.substr(0, file.size() - 3));
  EXPECT_TRUE(contains(text, "file: byte 12: "));
  EXPECT_TRUE(contains(text, "2 of the 3 records of 4 bytes"));
  EXPECT_TRUE(contains(data_error(file.substr(0, 9)), "within its header"));
  EXPECT_TRUE(contains(data_error(""), "within its first 4 bytes"));
}

TEST_F(Idx, TruncatedCompressed) {
  std::string noise;
  for (uint32_t i = 0, x = 1; i < 5000; ++i) noise += static_cast<char>((x = x * 69069 + 1) >> 24);
  const std::string file = gzipped(idx({50, 100}, noise));
  EXPECT_TRUE(contains(data_error(file.substr(0, file.size() / 2)), "ends early"));
  // The last bytes are the check sum.
  EXPECT_TRUE(contains(data_error(file.substr(0, file.size() - 4)), "ends early"));
  std::string damaged = file;
  damaged[damaged.size() / 2] ^= 0x55;
  EXPECT_TRUE(contains(data_error(damaged), "damaged"));
  // Fewer records than declared in a file that is whole.
  EXPECT_TRUE(contains(data_error(gzipped(idx({51, 100}, noise))), "50 of the 51 records"));
}

TEST_F(Idx, Oversized) {
  const auto file = idx({2, 2}, "abcdX");
  EXPECT_TRUE(contains(data_error(file), "byte 16: the file goes on after the 2 records"));
  EXPECT_TRUE(contains(data_error(gzipped(file)), "goes on"));
}

TEST_F(Idx, WrongMagicTypeAndRank) {
  EXPECT_TRUE(contains(data_error("PK\3\4 something else"), "byte 0: not an IDX file"));
  EXPECT_TRUE(contains(data_error(idx({1, 4}, "abcd", 0x0D)), "byte 2: element type 0x0d"));
  EXPECT_TRUE(contains(data_error(idx({4}, "abcd")), "byte 3: an array of 1 axes"));
}

TEST_F(Idx, AbsurdSizesAreRefusedBeforeMemoryIsTaken) {
  EXPECT_TRUE(contains(data_error(idx({0xFFFFFFFF, 0xFFFFFFFF}, "a")), "byte 4: axis 0"));
  EXPECT_TRUE(contains(data_error(idx({65536, 65536}, "a")), "byte 8: axis 1"));
  EXPECT_TRUE(contains(data_error(idx({0, 4}, "")), "axis 0 has the size 0"));
  // Within the bound for arrays, but not in this file.
  EXPECT_TRUE(contains(data_error(idx({1, 1u << 31}, "a")), "ends early"));
  EXPECT_TRUE(contains(data_error(gzipped(idx({1, 1u << 31}, "a"))), "file can hold"));
}

class FashionMnist : public Idx {
 protected:
  void SetUp() override {
    write("train-images-idx3-ubyte", idx({2, 28, 28}, std::string(2 * 784, '\x33')));
    write("train-labels-idx1-ubyte", idx({2}, std::string("\0\x09", 2)));
    write("t10k-images-idx3-ubyte.gz", gzipped(idx({1, 28, 28}, std::string(784, '\xFF'))));
    write("t10k-labels-idx1-ubyte.gz", gzipped(idx({1}, "\x04")));
  }
  void write(std::string_view name, const std::string& bytes) { write_bytes(folder / name, bytes); }
};

TEST_F(FashionMnist, LoadsImagesAndLabels) {
  const ImageTask task = load_fashion_mnist(folder.path());
  EXPECT_EQ(task.train.images.spec(), (Spec{{2, 28, 28}, DType::float32}));
  EXPECT_EQ(task.train.images.flat<float>()[783], 0.2f);
  EXPECT_EQ(task.test.images.flat<float>()[0], 1.0f);
  EXPECT_EQ(task.train.labels.spec(), (Spec{{2}, DType::int32}));
  EXPECT_EQ(task.train.labels.flat<int32_t>()[1], 9);
  EXPECT_EQ(task.test.labels.flat<int32_t>()[0], 4);
}

TEST_F(FashionMnist, MissingFileNamesTheRemedy) {
  std::filesystem::remove(folder / "t10k-labels-idx1-ubyte.gz");
  const auto text = error_of<IoError>([&] { load_fashion_mnist(folder.path()); });
  EXPECT_TRUE(contains(text, "t10k-labels-idx1-ubyte"));
  EXPECT_TRUE(contains(text, "dataset-fashion-mnist"));
  EXPECT_TRUE(has_fashion_mnist(folder.path()));
  EXPECT_FALSE(has_fashion_mnist(folder / "none"));
}

TEST_F(FashionMnist, LabelsAreChecked) {
  write("train-labels-idx1-ubyte", idx({2}, std::string("\0\x0a", 2)));
  EXPECT_TRUE(contains(error_of<DataError>([&] { load_fashion_mnist(folder.path()); }),
                       "label 1: 10 is not one of 0 to 9"));
  write("train-labels-idx1-ubyte", idx({3}, std::string("\0\1\2", 3)));
  EXPECT_TRUE(
      contains(error_of<DataError>([&] { load_fashion_mnist(folder.path()); }), "3 labels, but"));
}

TEST_F(FashionMnist, ImagesOfAnotherSize) {
  write("train-images-idx3-ubyte", idx({2, 14, 56}, std::string(2 * 784, 'a')));
  EXPECT_TRUE(contains(error_of<DataError>([&] { load_fashion_mnist(folder.path()); }),
                       "images of 14 x 56"));
}

TEST(Strokes, DependOnSeedAndNumberAlone) {
  const ImageTask task = generate_strokes(Seed{1}, 30, 20);
  EXPECT_EQ(task.train.images.shape(), (Shape{30, 28, 28}));
  EXPECT_EQ(task.test.images.shape(), (Shape{20, 28, 28}));
  const auto pixels = [](const LabelledImages& x, size_t image) {
    const auto p = x.images.flat<float>().subspan(image * 784, 784);
    return std::vector<float>(p.begin(), p.end());
  };
  EXPECT_EQ(pixels(task.train, 7), pixels(generate_strokes(Seed{1}, 8, 1).train, 7));
  EXPECT_NE(pixels(task.train, 7), pixels(generate_strokes(Seed{2}, 8, 1).train, 7));
  EXPECT_NE(pixels(task.train, 7), pixels(task.train, 17));  // the same class
  EXPECT_NE(pixels(task.train, 7), pixels(task.test, 7));
  for (float v : task.train.images.flat<float>()) ASSERT_TRUE(v >= 0 && v <= 1);
  EXPECT_EQ(task.train.labels.flat<int32_t>()[17], 7);
}

}  // namespace
}  // namespace rein
