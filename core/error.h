// The one exception type of llama_zero, and the helpers that raise it.
//
// Libraries throw Error and never print or exit; main() prints what() as one line and exits with code 1. A message names
// the thing that is wrong and, where there is one, the fix. Destructors never throw: they log.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace llama_zero {

/// What went wrong, in one line a user can act on.
class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message) : std::runtime_error(message) {}
};

/// Throws Error with a formatted message.
template <typename... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(fmt::format(format, std::forward<Args>(args)...));
}

/// Throws Error with a formatted message unless `condition` holds.
template <typename... Args>
void require(bool condition, fmt::format_string<Args...> format, Args&&... args) {
  if (!condition) fail(format, std::forward<Args>(args)...);
}

/// Throws Error("<what>: <strerror(errno)>") for a failed system call; `error_number` is the errno it left.
[[noreturn]] void fail_errno(int error_number, const std::string& what);

}  // namespace llama_zero
