// Errors, memory and texts.
#include <gtest/gtest.h>

#include <cstdint>

#include "rein/base/error.h"
#include "rein/base/memory.h"
#include "rein/base/text.h"
#include "support/error_text.h"

namespace rein {
namespace {

Where place_of_caller(Where where = Where::here()) { return where; }

TEST(Errors, NameTheCaller) {
  const Where where = place_of_caller();
  EXPECT_STREQ(where.file, __FILE__);
  EXPECT_EQ(where.line, __LINE__ - 2);
  EXPECT_STREQ(InvalidArgument("op", "is wrong", {"a.cpp", 7}).what(), "op: is wrong (a.cpp:7)");
  EXPECT_STREQ(DataError("x.gz", "byte 4", "no magic").what(), "x.gz: byte 4: no magic");
  EXPECT_STREQ(IoError("x.gz", "no such file").what(), "x.gz: no such file");
}

TEST(Buffer, IsAlignedAndZero) {
  for (size_t bytes : {size_t{1}, size_t{64}, size_t{1000}, size_t{3} << 20}) {
    const Buffer b(bytes);
    EXPECT_EQ(b.size(), bytes);
    const size_t unit = bytes >= size_t{2} << 20 ? size_t{2} << 20 : Buffer::kAlignment;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(b.data()) % unit, 0u);
    size_t set = 0;
    for (size_t i = 0; i < bytes; ++i) set += b.data()[i] != std::byte{0};
    EXPECT_EQ(set, 0u);
  }
  EXPECT_EQ(Buffer(0).data(), nullptr);
}

TEST(Buffer, MovesWithItsMemory) {
  Buffer a(10);
  const auto* data = a.data();
  Buffer b = std::move(a);
  EXPECT_EQ(b.data(), data);
}

TEST(RoundUp, ToAPowerOfTwo) {
  EXPECT_EQ(round_up(0, 64), 0u);
  EXPECT_EQ(round_up(1, 64), 64u);
  EXPECT_EQ(round_up(64, 64), 64u);
  EXPECT_EQ(round_up(65, 64), 128u);
}

TEST(DidYouMean, FindsTheNearest) {
  const std::string_view names[] = {"hidden/weights", "hidden/biases", "out/weights"};
  EXPECT_EQ(did_you_mean("hiden/weights", names), "; did you mean 'hidden/weights'?");
  EXPECT_EQ(did_you_mean("out/weight", names), "; did you mean 'out/weights'?");
  EXPECT_EQ(did_you_mean("zz", names), "");
  EXPECT_EQ(did_you_mean("x", {}), "");
}

}  // namespace
}  // namespace rein
