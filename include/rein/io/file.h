// Whole files, read and written safely.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace rein {

/// Replaces `path` by a file of these pieces, one after the other, in one go: whoever looks sees
/// the old file or the new one, even after a crash. Writes beside it, syncs, renames, and syncs the
/// folder. Throws IoError; the old file is then as it was.
void write_file_atomically(const std::filesystem::path& path,
                           std::span<const std::string_view> pieces);
void write_file_atomically(const std::filesystem::path& path, std::string_view text);

/// All of a file. Throws IoError, and DataError if it is larger than `max_bytes`.
std::string read_file(const std::filesystem::path& path, int64_t max_bytes);

}  // namespace rein
