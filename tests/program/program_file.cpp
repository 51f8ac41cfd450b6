#include "tests/program/program.h"

namespace llama_zero::test {

// Alone in its file, like source_folder(): a compiler cache then serves clones in any folder.
fs::path program_file() { return LLAMA_ZERO_BINARY; }

}  // namespace llama_zero::test
