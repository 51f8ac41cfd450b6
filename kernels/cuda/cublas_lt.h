// cuBLASLt, opened when it is first called: loading it takes a third of a second and 200 MB, which a run on the CPU
// need not pay. The functions keep their names (cublas_lt.cu), so callers include <cublasLt.h> as if it were linked.
#pragma once

#include <string>

namespace llama_zero {

/// Empty when the library can be opened, else a clause: "libcublasLt.so.13 is not among the system's libraries". Opens
/// it.
std::string why_no_cublas_lt();

}  // namespace llama_zero
