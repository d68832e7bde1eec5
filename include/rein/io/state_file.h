// A StateDict in a file.
#pragma once

#include <filesystem>

#include "rein/io/safetensors.h"
#include "rein/tensor/state.h"

namespace rein {

/// Writes a safetensors file, atomically: tensors under their names; everything else as metadata,
/// `3`, `0.1` with all digits, `true`, `'text'`. Throws IoError, and InvalidArgument if a name is
/// empty or not UTF-8.
void save_state(const std::filesystem::path& path, const StateDict& state,
                Where where = Where::here());

/// The way back, to the bit. Throws IoError, and DataError with the place.
StateDict load_state(const std::filesystem::path& path);
/// The same of a file that was read already, from `path`. Throws DataError.
StateDict load_state(TensorFile file, const std::filesystem::path& path);

}  // namespace rein
