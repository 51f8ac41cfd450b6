// A file that grows while others read it.
#pragma once

#include <string_view>

#include "core/files.h"

namespace llama_zero {

class AppendFile {
 public:
  /// Opens the file for appending, creating it when missing. Throws Error naming the path and the reason.
  explicit AppendFile(fs::path path);
  ~AppendFile();
  AppendFile(AppendFile&& other) noexcept;
  AppendFile& operator=(AppendFile&&) = delete;
  AppendFile(const AppendFile&) = delete;
  AppendFile& operator=(const AppendFile&) = delete;

  /// Hands the bytes to the system at once. Throws Error naming the path and the reason (disk full, ...).
  void write(std::string_view bytes);
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
  int descriptor_ = -1;
};

}  // namespace llama_zero
