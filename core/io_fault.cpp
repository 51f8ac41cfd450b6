#include "core/io_fault.h"

#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <mutex>

#include "core/error.h"

namespace llama_zero::io_fault {
namespace {

enum class Where { kNowhere, kByte, kCreate, kFsync, kRename };

struct Fault {
  Where where = Where::kNowhere;
  int error = 0;  // 0: kill
  std::uint64_t left = 0;
};

std::mutex mutex;
Fault fault;
// Read without the lock on every call: a run without faults pays one load.
std::atomic<bool> armed = false;

int error_of(std::string_view action, std::string_view text) {
  if (action == "kill") return 0;
  if (action == "enospc") return ENOSPC;
  if (action == "eio") return EIO;
  if (action == "erofs") return EROFS;
  fail("io fault \"{}\": \"{}\" is none of kill, enospc, eio, erofs", text, action);
}

Where where_of(std::string_view point, std::string_view text) {
  if (point == "byte") return Where::kByte;
  if (point == "create") return Where::kCreate;
  if (point == "fsync") return Where::kFsync;
  if (point == "rename") return Where::kRename;
  fail("io fault \"{}\": \"{}\" is none of byte, create, fsync, rename", text, point);
}

Fault parse(std::string_view text) {
  const std::size_t at_sign = text.find('@');
  const std::size_t colon = text.find(':');
  require(at_sign != std::string_view::npos && colon != std::string_view::npos && at_sign < colon,
          "io fault \"{}\" is not ACTION@POINT:N", text);
  Fault parsed;
  parsed.error = error_of(text.substr(0, at_sign), text);
  parsed.where = where_of(text.substr(at_sign + 1, colon - at_sign - 1), text);
  const std::string_view number = text.substr(colon + 1);
  const auto [end, code] = std::from_chars(number.data(), number.data() + number.size(), parsed.left);
  require(code == std::errc() && end == number.data() + number.size(), "io fault \"{}\": \"{}\" is no number", text,
          number);
  require(parsed.where == Where::kByte || parsed.left > 0, "io fault \"{}\": calls are counted from 1", text);
  return parsed;
}

[[noreturn]] void kill_process() {
  ::kill(::getpid(), SIGKILL);
  for (;;) ::pause();
}

}  // namespace

void arm(std::string_view text) {
  const Fault parsed = text.empty() ? Fault{} : parse(text);
  const std::lock_guard lock(mutex);
  fault = parsed;
  armed = parsed.where != Where::kNowhere;
}

void arm_from_environment() {
  if (const char* text = std::getenv("LLAMA_ZERO_TEST_IO_FAULT"); text != nullptr) arm(text);
}

int at(Point point) {
  if (!armed) return 0;
  const std::lock_guard lock(mutex);
  const Where where = point == Point::kCreate  ? Where::kCreate
                      : point == Point::kFsync ? Where::kFsync
                                               : Where::kRename;
  if (fault.where != where || fault.left == 0) return 0;
  fault.left -= 1;
  if (fault.left > 0) return 0;
  if (fault.error == 0) kill_process();
  return fault.error;
}

std::size_t allowed_bytes(std::size_t size, int& error) {
  if (!armed) return size;
  const std::lock_guard lock(mutex);
  if (fault.where != Where::kByte) return size;
  if (fault.left >= size) {
    fault.left -= size;
    return size;
  }
  error = fault.error;
  return static_cast<std::size_t>(fault.left);
}

void after_short_write() {
  const std::lock_guard lock(mutex);
  if (fault.where == Where::kByte && fault.error == 0) kill_process();
}

}  // namespace llama_zero::io_fault
