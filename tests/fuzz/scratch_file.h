// Gives a fuzzer's bytes to readers that want a file: one file a process, in memory.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "core/error.h"
#include "core/files.h"

namespace llama_zero::fuzz {

/// The path of a file in memory that holds these bytes until the next call.
inline fs::path scratch_file(const std::uint8_t* data, std::size_t size) {
  static const int descriptor = ::memfd_create("fuzz", 0);
  const bool written =
      ::ftruncate(descriptor, 0) == 0 && ::pwrite(descriptor, data, size, 0) == static_cast<ssize_t>(size);
  if (!written) std::abort();
  return "/proc/self/fd/" + std::to_string(descriptor);
}

/// Runs `read`: it may refuse with an Error of one line, and nothing else.
template <typename Read>
void expect_error_or_success(const Read& read) {
  try {
    read();
  } catch (const Error& error) {
    if (std::string_view(error.what()).find('\n') == std::string_view::npos) return;
    std::fprintf(stderr, "an error of several lines: %s\n", error.what());
    std::abort();
  }
}

}  // namespace llama_zero::fuzz
