#include "launcher/proc_field.h"

#include <cstdlib>
#include <fstream>
#include <iterator>

namespace llama_zero {

std::int64_t bytes_of_proc_line(std::string_view text, std::string_view name) {
  const std::size_t at = text.find(name);
  if (at == std::string_view::npos) return 0;
  return std::strtoll(std::string(text.substr(at + name.size(), 40)).c_str(), nullptr, 10) * 1024;
}

std::string read_proc_file(const char* path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace llama_zero
