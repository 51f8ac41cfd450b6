// One benchmark case: an op with its tensors on a backend, the work it does, and what to compare.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "core/arena.h"
#include "core/device.h"
#include "kernels/ops.h"

namespace llama_zero::bench {

/// A compute backend and the memory that cases take from it.
struct Backend {
  std::string name;
  std::unique_ptr<Device> device;
  std::unique_ptr<Ops> ops;
  std::unique_ptr<Stream> stream;
  std::unique_ptr<Arena> arena;
  View flush;  ///< of a GPU: memory larger than its L2 cache, written before every timed run
  bool is_gpu() const { return device->type() == DeviceType::kCuda; }
};

/// The CPU backend with `threads` threads (<= 0: all cores) and room for `capacity_bytes` of tensors.
Backend make_cpu_backend(int threads, std::size_t capacity_bytes);
/// GPU 0. Throws Error when there is none that can be used, or this program was built without CUDA.
Backend make_gpu_backend(std::size_t capacity_bytes);
/// Empty when make_gpu_backend can be called, else why not.
std::string why_no_gpu();

/// Sizes from which every op takes those it needs; the letters are those of kernels/ops.h and of --shape.
struct Shape {
  std::int64_t tokens = 2048;         ///< T
  std::int64_t hidden = 192;          ///< H; K of the linear ops
  std::int64_t out = 192;             ///< N of the linear ops
  std::int64_t intermediate = 512;    ///< I
  std::int64_t query_heads = 6;       ///< Q
  std::int64_t kv_heads = 6;          ///< G
  std::int64_t head_dim = 32;         ///< D
  std::int64_t vocab = 1024;          ///< V
  std::int64_t document_length = 64;  ///< L: documents of this length fill the pass
  std::int64_t ranks = 4;             ///< R of reduce_pieces
  std::int64_t elements = 4'000'000;  ///< E: of the flat ops

  /// Sets sizes from "T=4096,H=128". Throws Error for an unknown letter or a size that is not positive.
  void set(const std::string& text);
  /// "T=2048 H=192 N=192": the given letters only.
  std::string describe(const std::string& letters) const;

 private:
  std::int64_t* find(char letter);
};

/// Some elements of a result and what they must be.
struct Expected {
  std::vector<std::int64_t> index;
  std::vector<double> value;
  void add(std::int64_t at, double wanted) {
    index.push_back(at);
    value.push_back(wanted);
  }
};
/// One for each result of a case.
using Expectation = std::vector<Expected>;

/// What make() fills in.
struct Case {
  std::function<void()> run;
  double bytes = 0.0;                     ///< read and written, each tensor once
  double flops = 0.0;                     ///< additions and multiplications; 0 for ops bound by memory
  std::int64_t reduction = 1;             ///< terms of the longest sum, for the tolerance
  std::vector<View> results;              ///< compared with the fp64 reference
  std::function<Expectation()> expected;  ///< of some elements, in fp64; to be called before run
};

/// What moving each of the tensors once costs.
inline double bytes_of(std::initializer_list<ConstView> views) {
  double total = 0.0;
  for (const ConstView& view : views) total += static_cast<double>(view.bytes());
  return total;
}

/// Puts the tensors of a case on a backend. The same sequence of calls gives the same numbers at any storage: they are
/// rounded to `value_dtype`, so that an fp64 case computes on exactly what the 16-bit case saw.
class CaseBuilder {
 public:
  CaseBuilder(Backend& backend, DType storage, DType value_dtype)
      : backend_(backend), storage_(storage), value_dtype_(value_dtype) {}

  View random(std::int64_t count, double scale = 1.0) { return random_as(storage_, count, scale); }
  View random_as(DType dtype, std::int64_t count, double scale = 1.0);
  View positive_as(DType dtype, std::int64_t count);
  View ints(const std::vector<std::int32_t>& values);
  View bytes(const void* data, std::size_t size);
  View empty(DType dtype, std::int64_t count) { return backend_.arena->allocate("bench", dtype, count); }

  DType storage() const { return storage_; }
  /// fp32 accumulators and master copies; fp64 in the reference.
  DType wide() const { return stat_dtype(storage_); }
  Backend& backend() { return backend_; }

  /// Cuts the pass into documents; the host array lives as long as the builder.
  Documents documents(const Shape& shape);
  /// A host array that lives as long as the builder.
  const std::vector<std::int32_t>& keep(std::vector<std::int32_t> values);
  /// Gives the backend the workspace that `args` needs.
  template <typename Args>
  void reserve_workspace(const Args& args) {
    const auto needed = static_cast<std::int64_t>(backend_.ops->workspace_bytes(args));
    backend_.ops->set_workspace(backend_.arena->allocate("workspace", DType::kU8, needed));
  }

 private:
  /// A larger tensor repeats its beginning; the block is an odd prime, so that neighbouring rows differ.
  static constexpr std::int64_t kRepeatedBlock = 4'194'301;

  View upload(DType dtype, const std::vector<double>& values);
  View repeated(DType dtype, std::int64_t count, const std::function<double(std::uint64_t)>& value);

  Backend& backend_;
  DType storage_;
  DType value_dtype_;
  std::uint64_t next_stream_ = 1;
  std::list<std::vector<std::int32_t>> kept_;
};

/// A row of the table of ops.
struct OpEntry {
  std::string name;
  std::string letters;  ///< the sizes that it uses
  std::function<Case(CaseBuilder&, const Shape&)> make;
};

/// All ops, in the order of kernels/ops.h.
const std::vector<OpEntry>& op_table();

/// The numbers of a device tensor, on the host.
std::vector<double> download(Backend& backend, const View& view);

}  // namespace llama_zero::bench
