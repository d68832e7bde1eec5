// Named tensors in a file: the safetensors format (https://github.com/huggingface/safetensors).
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "rein/tensor/variables.h"

namespace rein {

struct NamedTensor {
  std::string name;
  Tensor tensor;
};

struct TensorFile {
  std::vector<NamedTensor> tensors;
  std::map<std::string, std::string> metadata;
};

/// Writes atomically: 8 bytes, little-endian, the length of a JSON header; the header, padded to
/// 8 bytes; the numbers, tensors of wide elements first so that all of them are aligned. Throws
/// InvalidArgument for an empty name or one that occurs twice, IoError if the file cannot be
/// written; an old file is then as it was.
void write_safetensors(const std::filesystem::path& path, const TensorFile& content,
                       Where where = Where::here());

/// Reads tensors of F32, F64, I32, I64 with up to Shape::kMaxRank axes, in the order of the file.
/// Every size and offset is checked before it is used; the numbers must fill the file without gap
/// or overlap. Throws IoError, and DataError with the place.
TensorFile read_safetensors(const std::filesystem::path& path);

/// All variables, by their names.
void save_variables(const std::filesystem::path& path, const Variables& variables,
                    std::map<std::string, std::string> metadata = {});

/// Sets all variables from the file, whose names, shapes and dtypes must be theirs: a DataError
/// lists everything that is missing, left over or different, and nothing is changed. Returns the
/// metadata.
std::map<std::string, std::string> load_variables(const std::filesystem::path& path,
                                                  Variables& variables);

}  // namespace rein
