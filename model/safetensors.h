// The safetensors format: an 8-byte little-endian header length, a JSON header, then the tensors' bytes.
// https://github.com/huggingface/safetensors, "Format".
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "core/dtype.h"
#include "core/files.h"

namespace llama_zero {

struct TensorSpec {
  std::string name;
  std::vector<std::int64_t> shape;

  /// Throws Error when a size is negative or the product leaves 63 bits.
  std::int64_t numel() const;
};

/// Writes a file of tensors of one dtype (fp32, fp16 or bf16), whose values arrive in order. The file exists under its
/// name only after finish().
class SafetensorsWriter {
 public:
  SafetensorsWriter(const fs::path& path, const std::vector<TensorSpec>& tensors, DType dtype);

  /// The next elements in file order, rounded to the dtype.
  void append(std::span<const float> values);
  /// Throws Error unless exactly all elements were appended.
  void finish();

 private:
  fs::path path_;
  AtomicFile file_;
  DType dtype_;
  std::int64_t expected_ = 0;
  std::int64_t written_ = 0;
  std::vector<std::byte> buffer_;
};

/// A mapped file whose header has been checked: lengths and offsets lie inside the file, tensors tile the data without
/// gap or overlap, shapes and dtypes agree with their byte counts, names are unique. Every fault throws Error naming
/// file and tensor.
class SafetensorsFile {
 public:
  struct Tensor {
    std::string dtype;  ///< the format's word: "F32", "BF16", "I64", ...
    std::vector<std::int64_t> shape;
    std::int64_t numel = 0;
    std::span<const std::byte> bytes;
  };

  explicit SafetensorsFile(const fs::path& path);

  const fs::path& path() const { return file_.path(); }
  const std::map<std::string, Tensor>& tensors() const { return tensors_; }
  /// Throws Error naming a tensor that is not there.
  const Tensor& find(const std::string& name) const;

  /// Elements [begin, begin + out.size()) of a F32, F16 or BF16 tensor, widened. Throws Error for another dtype or
  /// range.
  void read(const std::string& name, std::int64_t begin, std::span<float> out) const;

 private:
  MappedFile file_;
  std::map<std::string, Tensor> tensors_;
};

}  // namespace llama_zero
