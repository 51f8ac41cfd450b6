// Compiled as C++ (cmake/cudnn.cmake): it has no device code.
#include "kernels/cuda/attention/cudnn_graphs.h"

#include <cudnn_frontend.h>
#include <dlfcn.h>

#include <map>
#include <unordered_map>
#include <vector>

#include "core/error.h"

namespace fe = cudnn_frontend;

namespace cudnn_frontend {
void* cudnn_dlhandle = nullptr;  // the frontend's way to be told where the library is
}

namespace llama_zero {
namespace {

CudnnStatus open_library() {
  fe::cudnn_dlhandle = dlopen("libcudnn.so.9", RTLD_NOW | RTLD_GLOBAL);
  if (fe::cudnn_dlhandle == nullptr) return {false, "libcudnn.so.9 is not among the system's libraries"};
  const std::size_t version = fe::detail::get_backend_version();
  const std::string name = fmt::format("cuDNN {}.{}.{}", version / 10000, version / 100 % 100, version % 100);
  if (version < 91400) return {false, name + " is older than 9.14"};
  return {true, name};
}

}  // namespace

CudnnStatus cudnn_status() {
  static const CudnnStatus status = open_library();
  return status;
}

namespace cuda {
namespace {

enum Id : std::int64_t {
  kQuery = 1,
  kKey,
  kValue,
  kOutput,
  kStatistics,
  kGradOutput,
  kGradQuery,
  kGradKey,
  kGradValue,
  kLengths,
  kQkvOffsets,
  kOutputOffsets,
  kStatisticsOffsets
};

using Tensor = std::shared_ptr<fe::graph::Tensor_attributes>;

void check(fe::error_t error, const char* what) {
  require(error.is_good(), "cuDNN: {}: {}", what, error.get_message());
}

/// The tensors that forward and backward have in common.
class GraphBuilder {
 public:
  explicit GraphBuilder(const CudnnShape& shape) : shape_(shape) {
    graph_->set_io_data_type(shape.storage == DType::kF16 ? fe::DataType_t::HALF : fe::DataType_t::BFLOAT16)
        .set_intermediate_data_type(fe::DataType_t::FLOAT)
        .set_compute_data_type(fe::DataType_t::FLOAT);
    lengths_ = vector(kLengths, shape.documents, fe::DataType_t::INT32);
    qkv_offsets_ = vector(kQkvOffsets, shape.documents + 1, fe::DataType_t::INT64);
    output_offsets_ = vector(kOutputOffsets, shape.documents + 1, fe::DataType_t::INT64);
    statistics_offsets_ = vector(kStatisticsOffsets, shape.documents + 1, fe::DataType_t::INT64);
    query_ = input(kQuery, shape.query_heads, shape.qkv_stride, qkv_offsets_);
    key_ = input(kKey, shape.kv_heads, shape.qkv_stride, qkv_offsets_);
    value_ = input(kValue, shape.kv_heads, shape.qkv_stride, qkv_offsets_);
  }

  std::shared_ptr<fe::graph::Graph> forward() {
    auto attributes = fe::graph::SDPA_attributes().set_generate_stats(true);
    mask(attributes);
    auto [output, statistics] = graph_->sdpa(query_, key_, value_, attributes);
    place(output, kOutput, shape_.query_heads, shape_.head_dim, shape_.output_stride, output_offsets_).set_output(true);
    place(statistics, kStatistics, shape_.query_heads, 1, shape_.query_heads, statistics_offsets_)
        .set_output(true)
        .set_data_type(fe::DataType_t::FLOAT);
    return graph_;
  }

  std::shared_ptr<fe::graph::Graph> backward() {
    auto attributes = fe::graph::SDPA_backward_attributes().set_deterministic_algorithm(true);
    mask(attributes);
    const Tensor output = input(kOutput, shape_.query_heads, shape_.output_stride, output_offsets_);
    const Tensor grad_output = input(kGradOutput, shape_.query_heads, shape_.output_stride, output_offsets_);
    const Tensor statistics = graph_->tensor(fe::graph::Tensor_attributes());
    place(statistics, kStatistics, shape_.query_heads, 1, shape_.query_heads, statistics_offsets_)
        .set_data_type(fe::DataType_t::FLOAT);
    auto [grad_query, grad_key, grad_value] =
        graph_->sdpa_backward(query_, key_, value_, output, grad_output, statistics, attributes);
    gradient(grad_query, kGradQuery, shape_.query_heads);
    gradient(grad_key, kGradKey, shape_.kv_heads);
    gradient(grad_value, kGradValue, shape_.kv_heads);
    return graph_;
  }

 private:
  Tensor vector(Id id, std::int64_t entries, fe::DataType_t type) {
    return graph_->tensor(fe::graph::Tensor_attributes()
                              .set_uid(id)
                              .set_dim({entries, 1, 1, 1})
                              .set_stride({1, 1, 1, 1})
                              .set_data_type(type));
  }
  /// Dimensions document, head, token, column: a column of a token's row for each head in turn.
  fe::graph::Tensor_attributes& place(const Tensor& tensor, Id id, std::int64_t heads, std::int64_t columns,
                                      std::int64_t token_stride, const Tensor& offsets) const {
    return tensor->set_uid(id)
        .set_dim({shape_.documents, heads, shape_.longest, columns})
        .set_stride({shape_.longest * token_stride, columns, token_stride, 1})
        .set_ragged_offset(offsets);
  }
  Tensor input(Id id, std::int64_t heads, std::int64_t token_stride, const Tensor& offsets) {
    const Tensor tensor = graph_->tensor(fe::graph::Tensor_attributes());
    place(tensor, id, heads, shape_.head_dim, token_stride, offsets);
    return tensor;
  }
  void gradient(const Tensor& tensor, Id id, std::int64_t heads) const {
    place(tensor, id, heads, shape_.head_dim, shape_.qkv_stride, qkv_offsets_).set_output(true);
  }
  /// Causal inside each document.
  template <typename Attributes>
  void mask(Attributes& attributes) const {
    attributes.set_attn_scale(static_cast<float>(shape_.scale));
    attributes.set_padding_mask(true).set_seq_len_q(lengths_).set_seq_len_kv(lengths_);
    attributes.set_diagonal_alignment(fe::DiagonalAlignment_t::TOP_LEFT).set_diagonal_band_right_bound(0);
  }

  const CudnnShape& shape_;
  std::shared_ptr<fe::graph::Graph> graph_ = std::make_shared<fe::graph::Graph>();
  Tensor lengths_, qkv_offsets_, output_offsets_, statistics_offsets_, query_, key_, value_;
};

class Graphs final : public CudnnGraphs {
 public:
  Graphs() {
    const CudnnStatus status = cudnn_status();
    require(status.usable, "cuDNN: {}", status.text);
  }
  ~Graphs() override {
    if (handle_ != nullptr) fe::detail::destroy_handle(handle_);
  }

  std::size_t scratch_bytes(const CudnnShape& shape) override {
    std::int64_t bytes = 0;
    guarded([&] { check(graph_of(shape).get_workspace_size(bytes), "scratch of a graph"); });
    return static_cast<std::size_t>(bytes);
  }

  void run(const CudnnShape& shape, const CudnnBuffers& buffers, void* scratch, cudaStream_t stream) override {
    guarded([&] {
      fe::graph::Graph& graph = graph_of(shape);
      require(fe::detail::set_stream(handle_, stream) == CUDNN_STATUS_SUCCESS, "cuDNN: it refused the stream");
      auto pack = addresses(shape, buffers);
      check(graph.execute(handle_, pack, scratch), shape.backward ? "attention backward" : "attention forward");
    });
  }

 private:
  /// The frontend throws where it does not find a function of a library.
  template <typename F>
  static void guarded(const F& f) {
    try {
      f();
    } catch (const Error&) {
      throw;
    } catch (const std::exception& e) {
      fail("cuDNN: {}", e.what());
    }
  }

  static std::unordered_map<std::int64_t, void*> addresses(const CudnnShape& shape, const CudnnBuffers& b) {
    const auto any = [](const auto* pointer) { return const_cast<void*>(static_cast<const void*>(pointer)); };
    std::unordered_map<std::int64_t, void*> pack = {{kQuery, any(b.query)},
                                                    {kKey, any(b.key)},
                                                    {kValue, any(b.value)},
                                                    {kOutput, any(b.output)},
                                                    {kStatistics, any(b.statistics)},
                                                    {kLengths, any(b.lengths)},
                                                    {kQkvOffsets, any(b.qkv_offsets)},
                                                    {kOutputOffsets, any(b.output_offsets)},
                                                    {kStatisticsOffsets, any(b.statistics_offsets)}};
    if (shape.backward) {
      pack[kGradOutput] = any(b.grad_output);
      pack[kGradQuery] = b.grad_query;
      pack[kGradKey] = b.grad_key;
      pack[kGradValue] = b.grad_value;
    }
    return pack;
  }

  fe::graph::Graph& graph_of(const CudnnShape& shape) {
    const auto found = graphs_.find(shape);
    if (found != graphs_.end()) return *found->second;
    if (handle_ == nullptr) {
      require(fe::detail::create_handle(&handle_) == CUDNN_STATUS_SUCCESS, "cuDNN: could not start the library");
    }
    GraphBuilder builder(shape);
    auto graph = shape.backward ? builder.backward() : builder.forward();
    // The first plan was the fastest or equal wherever all were timed.
    check(graph->build(handle_, {fe::HeurMode_t::A}), "no kernel for this attention");
    return *graphs_.emplace(shape, std::move(graph)).first->second;
  }

  cudnnHandle_t handle_ = nullptr;
  std::map<CudnnShape, std::shared_ptr<fe::graph::Graph>> graphs_;
};

}  // namespace

std::unique_ptr<CudnnGraphs> make_cudnn_graphs() { return std::make_unique<Graphs>(); }

}  // namespace cuda
}  // namespace llama_zero
