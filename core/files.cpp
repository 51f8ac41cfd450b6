#include "core/files.h"

#define XXH_INLINE_ALL
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <cerrno>
#include <utility>

#include "core/error.h"
#include "core/io_fault.h"

namespace llama_zero {
namespace {

void write_plain(int descriptor, std::span<const std::byte> bytes, const fs::path& path) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail_errno(errno, "cannot write " + path.string());
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

void write_all(int descriptor, std::span<const std::byte> bytes, const fs::path& path) {
  int error = 0;
  const std::size_t allowed = io_fault::allowed_bytes(bytes.size(), error);
  write_plain(descriptor, bytes.first(allowed), path);
  if (allowed == bytes.size()) return;
  io_fault::after_short_write();
  fail_errno(error, "cannot write " + path.string());
}

int create_file(const fs::path& path) {
  if (const int error = io_fault::at(io_fault::Point::kCreate); error != 0) {
    fail_errno(error, "cannot create " + path.string());
  }
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (descriptor < 0) fail_errno(errno, "cannot create " + path.string());
  return descriptor;
}

void sync_file(int descriptor, const fs::path& path) {
  int error = io_fault::at(io_fault::Point::kFsync);
  if (error == 0 && ::fsync(descriptor) != 0) error = errno;
  if (error != 0) fail_errno(error, "cannot sync " + path.string());
}

}  // namespace

void sync_folder(const fs::path& folder) {
  const int descriptor = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;  // some file systems do not open folders; the rename itself is still atomic
  ::fsync(descriptor);
  ::close(descriptor);
}

void rename_durably(const fs::path& from, const fs::path& to) {
  int error = io_fault::at(io_fault::Point::kRename);
  if (error == 0 && ::rename(from.c_str(), to.c_str()) != 0) error = errno;
  if (error != 0) fail_errno(error, fmt::format("cannot rename {} to {}", from.string(), to.string()));
  sync_folder(to.parent_path());
}

DurableFile::DurableFile(fs::path path) : path_(std::move(path)), descriptor_(create_file(path_)) {}

DurableFile::~DurableFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void DurableFile::write(std::span<const std::byte> bytes) {
  write_all(descriptor_, bytes, path_);
  size_ += bytes.size();
}

void DurableFile::close() {
  sync_file(descriptor_, path_);
  if (::close(std::exchange(descriptor_, -1)) != 0) fail_errno(errno, "cannot close " + path_.string());
}

MappedFile::MappedFile(const fs::path& path) : path_(path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) fail_errno(errno, "cannot open " + path.string());
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) {
    const int error = errno;
    ::close(descriptor);
    fail_errno(error, "cannot read " + path.string());
  }
  if (!S_ISREG(status.st_mode)) {
    ::close(descriptor);
    fail("cannot open {}: not a regular file", path.string());
  }
  size_ = static_cast<std::size_t>(status.st_size);
  if (size_ > 0) {
    void* data = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, descriptor, 0);
    const int error = errno;
    ::close(descriptor);
    if (data == MAP_FAILED) fail_errno(error, "cannot map " + path.string());
    data_ = static_cast<const std::byte*>(data);
  } else {
    ::close(descriptor);
  }
}

MappedFile::~MappedFile() { reset(); }

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)), data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  if (this == &other) return *this;
  reset();
  path_ = std::move(other.path_);
  data_ = std::exchange(other.data_, nullptr);
  size_ = std::exchange(other.size_, 0);
  return *this;
}

void MappedFile::reset() noexcept {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
  data_ = nullptr;
  size_ = 0;
}

AtomicFile::AtomicFile(fs::path final_path)
    : final_path_(std::move(final_path)), temporary_path_(fmt::format("{}.{}.tmp", final_path_.string(), ::getpid())) {
  descriptor_ = create_file(temporary_path_);
}

AtomicFile::~AtomicFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  ::unlink(temporary_path_.c_str());
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  write_all(descriptor_, bytes, temporary_path_);
  size_ += bytes.size();
}

void AtomicFile::write(std::string_view text) { write(std::as_bytes(std::span(text))); }

void AtomicFile::write_at(std::uint64_t offset, std::span<const std::byte> bytes) {
  require(offset + bytes.size() <= size_, "{}: write at {} beyond the {} bytes written", temporary_path_.string(),
          offset, size_);
  if (::lseek(descriptor_, static_cast<off_t>(offset), SEEK_SET) < 0) {
    fail_errno(errno, "cannot seek in " + temporary_path_.string());
  }
  write_all(descriptor_, bytes, temporary_path_);
  if (::lseek(descriptor_, 0, SEEK_END) < 0) fail_errno(errno, "cannot seek in " + temporary_path_.string());
}

void AtomicFile::commit() {
  sync_file(descriptor_, temporary_path_);
  if (::close(std::exchange(descriptor_, -1)) != 0) {
    const int error = errno;
    ::unlink(temporary_path_.c_str());
    fail_errno(error, "cannot close " + temporary_path_.string());
  }
  try {
    rename_durably(temporary_path_, final_path_);
  } catch (const Error&) {
    ::unlink(temporary_path_.c_str());
    throw;
  }
}

FileLock::FileLock(const fs::path& path) {
  descriptor_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (descriptor_ < 0) fail_errno(errno, "cannot create lock file " + path.string());
  while (::flock(descriptor_, LOCK_EX) != 0) {
    if (errno == EINTR) continue;
    const int error = errno;
    ::close(std::exchange(descriptor_, -1));
    fail_errno(error, "cannot lock " + path.string());
  }
}

FileLock::~FileLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

std::uint64_t hash_bytes(std::span<const std::byte> bytes, std::uint64_t seed) {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

std::uint64_t hash_text(std::string_view text, std::uint64_t seed) {
  return hash_bytes(std::as_bytes(std::span(text)), seed);
}

void create_folder(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  require(!error, "cannot create folder {}: {}", path.string(), error.message());
}

fs::path executable_folder() {
  std::error_code error;
  const fs::path self = fs::read_symlink("/proc/self/exe", error);
  return error ? fs::current_path() : self.parent_path();
}

}  // namespace llama_zero
