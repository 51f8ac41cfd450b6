#include "launcher/save_interval.h"

#include <charconv>

#include "core/error.h"

namespace llama_zero {

SaveInterval parse_save_interval(std::string_view text) {
  if (text == "none" || text == "0") return {};
  double number = 0.0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  const bool known = unit.empty() || unit == "s" || unit == "m" || unit == "h";
  const bool whole = !unit.empty() || number == static_cast<double>(static_cast<std::int64_t>(number));
  require(code == std::errc() && number > 0.0 && number < 1e9 && known && whole,
          "llama_zero.save_interval \"{}\" is neither a number of steps (\"500\"), nor a time (\"90s\", \"30m\", "
          "\"2h\"), nor \"none\"",
          text);
  if (unit.empty()) return {static_cast<std::int64_t>(number), 0.0};
  return {0, number * (unit == "h" ? 3600.0 : unit == "m" ? 60.0 : 1.0)};
}

}  // namespace llama_zero
