// Lines of the files that Linux keeps under /proc.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace llama_zero {

/// Bytes of the line "NAME:   1234 kB" in `text`, `name` with its colon; 0 when there is none.
std::int64_t bytes_of_proc_line(std::string_view text, std::string_view name);
/// The whole file; empty when it cannot be read.
std::string read_proc_file(const char* path);

}  // namespace llama_zero
