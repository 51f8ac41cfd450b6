// The program's version, in one place.
#pragma once

namespace llama_zero {

inline constexpr const char* kVersion = "0.1.0";

}  // namespace llama_zero
