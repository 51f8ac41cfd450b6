// TensorBoard's event files, byte by byte.
//
// A file is a sequence of TFRecords; each holds one protocol buffer of type Event (tensorflow/core/util/event.proto):
//   double wall_time = 1;  int64 step = 2;  string file_version = 3;  Summary summary = 5;  SessionLog session_log = 7
//   Summary: repeated Value value = 1;  Value: string tag = 1, float simple_value = 2
//   SessionLog: SessionStatus status = 1, of which START = 1
// TFRecord framing: u64 length, u32 masked CRC-32C of the length, the bytes, u32 masked CRC-32C of the bytes; little
// endian.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace llama_zero {

/// The first event of every file.
std::string encode_file_version(double wall_time);

/// The start of a session: TensorBoard forgets what it has read of steps from `step` on, in the files before this one.
std::string encode_session_start(double wall_time, std::int64_t step);

/// One scalar. TensorBoard stores fp32: `value` is rounded to it.
std::string encode_scalar(double wall_time, std::int64_t step, std::string_view tag, double value);

/// `bytes` as one TFRecord.
std::string frame_record(std::string_view bytes);

}  // namespace llama_zero
