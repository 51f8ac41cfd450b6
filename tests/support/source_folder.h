// Where the project's own files are, for tests that read them.
#pragma once

#include <filesystem>

namespace llama_zero::test {

/// The project's top folder, absolute. One source file knows it: a compiler cache then serves clones in any folder.
std::filesystem::path source_folder();

}  // namespace llama_zero::test
