// IDX files: the format of MNIST and its relatives.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "rein/base/shape.h"

namespace rein {

/// A row-major array of bytes.
struct ByteArray {
  Shape shape;
  std::vector<uint8_t> values;
};

/// Reads an IDX file of unsigned bytes with `rank` axes, plain or compressed by gzip: 0, 0, type
/// 0x08, rank, then one big-endian uint32 an axis, then the bytes
/// (http://yann.lecun.com/exdb/mnist). Sizes are checked against each other and against the file
/// before memory is taken for them.
///
/// Throws IoError if the file cannot be opened, and DataError, with the place, if it is not such a
/// file, ends early or goes on after its end.
ByteArray read_idx(const std::filesystem::path& path, int rank);

}  // namespace rein
