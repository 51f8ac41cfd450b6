#include "core/error.h"

#include <system_error>

namespace llama_zero {

void fail_errno(int error_number, const std::string& what) {
  throw Error(fmt::format("{}: {}", what, std::generic_category().message(error_number)));
}

}  // namespace llama_zero
