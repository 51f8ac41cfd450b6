#include "launcher/byte_size.h"

#include <charconv>
#include <optional>

#include "core/error.h"

namespace llama_zero {
namespace {

/// Bytes of one unit; nothing for an unknown word.
std::optional<double> unit_bytes(std::string_view unit) {
  if (unit.empty() || unit == "B") return 1.0;
  constexpr std::string_view kPrefixes = "KMGT";
  const std::size_t power = kPrefixes.find(unit.front());
  const std::string_view rest = unit.substr(1);
  if (power == std::string_view::npos || (rest != "B" && rest != "iB")) return std::nullopt;
  double bytes = 1.0;
  for (std::size_t i = 0; i <= power; ++i) bytes *= rest == "iB" ? 1024.0 : 1000.0;
  return bytes;
}

}  // namespace

std::int64_t parse_byte_size(std::string_view text, std::string_view key) {
  double number = 0.0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), number);
  const auto unit = unit_bytes({end, static_cast<std::size_t>(text.data() + text.size() - end)});
  const double bytes = unit ? number * *unit : 0.0;
  require(code == std::errc() && bytes >= 1.0 && bytes < 9e18,
          "{} \"{}\" is no size: give a number and a unit, such as \"5GB\", \"500MB\" or \"2GiB\"", key, text);
  return static_cast<std::int64_t>(bytes);
}

}  // namespace llama_zero
