// Faults of the disk on demand, for tests: every write, fsync and rename of core/files passes through here.
#pragma once

#include <cstddef>
#include <string_view>

namespace llama_zero::io_fault {

/// Arms one fault; "" disarms. "ACTION@POINT:N", e.g. "kill@byte:4096", "enospc@fsync:2", "eio@rename:1".
///   ACTION  kill (SIGKILL to this process), enospc, eio, erofs
///   POINT   byte: while byte N (from 0) of all bytes written since is written; what comes before it is written.
///           create, fsync, rename: at the N-th such call from now (from 1), before it happens.
/// Throws Error for another text.
void arm(std::string_view text);
/// Arms what the variable LLAMA_ZERO_TEST_IO_FAULT says, if it is set.
void arm_from_environment();

// What core/files asks.

enum class Point { kCreate, kFsync, kRename };
/// 0, or the errno that the call is to fail with. Does not return when the fault is "kill".
int at(Point point);
/// How many of `size` bytes may be written now; when it is fewer, `error` is the errno to fail with after them.
std::size_t allowed_bytes(std::size_t size, int& error);
/// After `allowed_bytes` said fewer, those were written: kills the process when the fault says so.
void after_short_write();

}  // namespace llama_zero::io_fault
