#include "launcher/report_libraries.h"

#include <cblas.h>
#include <fmt/format.h>
#include <link.h>
#include <mpi.h>
#include <openblas_config.h>
#include <simdjson.h>
#include <spdlog/version.h>
#include <xxhash.h>

#include <CLI/CLI.hpp>
#include <array>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>

namespace llama_zero {
namespace {

namespace fs = std::filesystem;

struct FileSearch {
  const std::string& prefix;
  std::string found;
};

int look_at(dl_phdr_info* info, std::size_t, void* data) {
  auto* search = static_cast<FileSearch*>(data);
  const fs::path path = info->dlpi_name;
  if (!path.filename().string().starts_with(search->prefix)) return 0;
  std::error_code error;
  const fs::path real = fs::canonical(path, error);
  search->found = (error ? path : real).filename().string();
  return 1;
}

/// "Open MPI v4.1.4, package: ..." as "4.1.4".
std::string running_mpi() {
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> text{};
  int length = 0;
  MPI_Get_library_version(text.data(), &length);
  std::string version(text.data(), static_cast<std::size_t>(length));
  version = version.substr(0, version.find_first_of(",\n"));
  const auto number = version.find(" v");
  return number == std::string::npos ? version : version.substr(number + 2);
}

/// "OpenBLAS 0.3.21 DYNAMIC_ARCH ..." as "0.3.21"; the macro's value has blanks around it.
std::string number_in(const std::string& text) {
  const auto begin = text.find_first_of("0123456789");
  if (begin == std::string::npos) return text;
  return text.substr(begin, text.find_first_not_of("0123456789.", begin) - begin);
}

std::string running_openblas() {
  return fmt::format("{}, kernel {}", number_in(openblas_get_config()), openblas_get_corename());
}

std::string xxhash_version(unsigned version) {
  return fmt::format("{}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

std::string fmt_version() {
  return fmt::format("{}.{}.{}", FMT_VERSION / 10000, FMT_VERSION / 100 % 100, FMT_VERSION % 100);
}

}  // namespace

std::string loaded_file(const std::string& prefix) {
  FileSearch search{prefix, {}};
  dl_iterate_phdr(look_at, &search);
  return search.found;
}

std::string describe_build() {
#ifdef LLAMA_ZERO_WITH_CUDA
  constexpr const char* kCuda = "with CUDA";
#else
  constexpr const char* kCuda = "without CUDA";
#endif
  return fmt::format("g++ {}, -march={}, {}", __VERSION__, LLAMA_ZERO_BUILT_FOR, kCuda);
}

std::vector<LibraryVersion> library_versions() {
  return {
      {"Open MPI", fmt::format("{}.{}.{}", OMPI_MAJOR_VERSION, OMPI_MINOR_VERSION, OMPI_RELEASE_VERSION),
       running_mpi()},
      {"OpenBLAS", number_in(OPENBLAS_VERSION), running_openblas()},
      {"SentencePiece", LLAMA_ZERO_SENTENCEPIECE_VERSION, loaded_file("libsentencepiece.")},
      {"simdjson",
       fmt::format("{}.{}.{}", int{simdjson::SIMDJSON_VERSION_MAJOR}, int{simdjson::SIMDJSON_VERSION_MINOR},
                   int{simdjson::SIMDJSON_VERSION_REVISION}),
       fmt::format("{}, kernel {}", loaded_file("libsimdjson."), simdjson::get_active_implementation()->name())},
      {"spdlog", fmt::format("{}.{}.{}", SPDLOG_VER_MAJOR, SPDLOG_VER_MINOR, SPDLOG_VER_PATCH),
       loaded_file("libspdlog.")},
      {"fmt", fmt_version(), loaded_file("libfmt.")},
      {"CLI11", CLI11_VERSION, ""},
      {"nlohmann-json",
       fmt::format("{}.{}.{}", NLOHMANN_JSON_VERSION_MAJOR, NLOHMANN_JSON_VERSION_MINOR, NLOHMANN_JSON_VERSION_PATCH),
       ""},
      {"xxHash", xxhash_version(XXH_VERSION_NUMBER), ""},
  };
}

int mpi_slots() {
  int* slots = nullptr;
  int known = 0;
  MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_UNIVERSE_SIZE, &slots, &known);
  return known != 0 ? *slots : 0;
}

}  // namespace llama_zero
