#include "tests/support/source_folder.h"

namespace llama_zero::test {

std::filesystem::path source_folder() { return LLAMA_ZERO_SOURCE_DIR; }

}  // namespace llama_zero::test
