// Messages to the person at the terminal, through spdlog. Rank 0 speaks for all; others log warnings and errors only.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <utility>

namespace llama_zero::log {

/// kCritical silences the rest: nothing is logged at it.
enum class Level { kDebug, kInfo, kWarning, kError, kCritical };

/// Sets who speaks: info lines come from rank 0 only; warnings and errors carry the rank when world_size > 1.
void configure(int rank, int world_size, Level level);

/// "debug", "info", "warning", "error", "critical"; throws Error for anything else.
Level parse_level(std::string_view name);

void write(Level level, const std::string& message);

template <typename... Args>
void debug(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::kDebug, fmt::format(format, std::forward<Args>(args)...));
}
/// Plain text on stdout, rank 0 only.
template <typename... Args>
void info(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::kInfo, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void warning(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::kWarning, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void error(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::kError, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace llama_zero::log
