// Versions: what this program was compiled with, and what it runs with.
#pragma once

#include <string>
#include <vector>

namespace llama_zero {

struct LibraryVersion {
  std::string name;
  std::string compiled;  ///< of the headers; "" where there was none
  std::string running;   ///< as the library says, else the file that is loaded; "" for headers alone
};

/// "g++ 12.2.0, -march=x86-64-v3, with CUDA"
std::string describe_build();

/// Every library of the program outside CUDA, in a fixed order. MPI must be initialised.
std::vector<LibraryVersion> library_versions();

/// Slots that mpirun has for this job (MPI_UNIVERSE_SIZE); 0 when it does not say.
int mpi_slots();

/// The file behind a shared library that this process has loaded, links followed: "libfmt.so.9.1.0"; "" when it has
/// none whose name starts with `prefix`.
std::string loaded_file(const std::string& prefix);

}  // namespace llama_zero
