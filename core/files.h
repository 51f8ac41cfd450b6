// Files: mapped for reading, written atomically, locked, hashed. Every failure throws Error naming the path.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace llama_zero {

namespace fs = std::filesystem;

/// A whole file mapped read-only. Movable, not copyable.
class MappedFile {
 public:
  MappedFile() = default;
  /// Throws Error when the path is missing, unreadable or not a regular file.
  explicit MappedFile(const fs::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  std::string_view text() const { return {reinterpret_cast<const char*>(data_), size_}; }
  std::size_t size() const { return size_; }
  const fs::path& path() const { return path_; }

 private:
  void reset() noexcept;

  fs::path path_;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

/// Writes a file under a temporary name in the same folder; commit() syncs it and renames it over the final name, so
/// that a reader sees the old content or the whole new one. Without commit() the temporary file is removed.
class AtomicFile {
 public:
  explicit AtomicFile(fs::path final_path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);
  /// Overwrites bytes written before, e.g. a header whose sums are known last; the write position stays at the end.
  void write_at(std::uint64_t offset, std::span<const std::byte> bytes);
  std::uint64_t size() const { return size_; }
  void commit();

 private:
  fs::path final_path_;
  fs::path temporary_path_;
  int descriptor_ = -1;
  std::uint64_t size_ = 0;
};

/// Writes a file under its own name, for folders that only count once another file or a rename completes them.
class DurableFile {
 public:
  /// Creates or truncates.
  explicit DurableFile(fs::path path);
  ~DurableFile();
  DurableFile(const DurableFile&) = delete;
  DurableFile& operator=(const DurableFile&) = delete;

  void write(std::span<const std::byte> bytes);
  std::uint64_t size() const { return size_; }
  const fs::path& path() const { return path_; }
  /// Hands everything to the disk. Without it the content may be lost.
  void close();

 private:
  fs::path path_;
  int descriptor_ = -1;
  std::uint64_t size_ = 0;
};

/// Renames, replacing what has the new name, and hands the folder to the disk.
void rename_durably(const fs::path& from, const fs::path& to);
/// Hands a folder's entries to the disk, where the file system can.
void sync_folder(const fs::path& folder);

/// An advisory exclusive lock on `path` (created when missing), held until destruction; waits for its turn.
class FileLock {
 public:
  explicit FileLock(const fs::path& path);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  int descriptor_ = -1;
};

/// XXH3-64 of the bytes.
std::uint64_t hash_bytes(std::span<const std::byte> bytes, std::uint64_t seed = 0);
std::uint64_t hash_text(std::string_view text, std::uint64_t seed = 0);

/// Creates a folder and its parents. Throws Error naming the path and the reason.
void create_folder(const fs::path& path);

/// The folder of the running executable.
fs::path executable_folder();

}  // namespace llama_zero
