#include "kernels/cuda/gemm.h"

#include <cublasLt.h>

#include <algorithm>
#include <cstring>
#include <unordered_map>

namespace llama_zero::cuda {
namespace {

static_assert(sizeof(GemmAlgorithm) == sizeof(cublasLtMatmulAlgo_t));

constexpr int kMostCandidates = 16;

void check_cublas(cublasStatus_t status, const std::string& what) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  fail("cuBLASLt: {}: {}", what, cublasLtGetStatusString(status));
}

cudaDataType_t cuda_type(DType dtype) {
  switch (dtype) {
    case DType::kF16:
      return CUDA_R_16F;
    case DType::kBF16:
      return CUDA_R_16BF;
    default:
      return CUDA_R_32F;
  }
}

/// Destroys a cuBLASLt descriptor; the functions cannot fail on valid ones.
template <auto kDestroy>
struct Destroyer {
  template <typename T>
  void operator()(T* descriptor) const {
    kDestroy(descriptor);
  }
};
using Operation = std::unique_ptr<std::remove_pointer_t<cublasLtMatmulDesc_t>, Destroyer<cublasLtMatmulDescDestroy>>;
using Layout = std::unique_ptr<std::remove_pointer_t<cublasLtMatrixLayout_t>, Destroyer<cublasLtMatrixLayoutDestroy>>;
using Preference =
    std::unique_ptr<std::remove_pointer_t<cublasLtMatmulPreference_t>, Destroyer<cublasLtMatmulPreferenceDestroy>>;

unsigned common_alignment(const GemmMatrices& matrices) {
  const auto bits = reinterpret_cast<std::uintptr_t>(matrices.a) | reinterpret_cast<std::uintptr_t>(matrices.b) |
                    reinterpret_cast<std::uintptr_t>(matrices.c) | 256U;
  return static_cast<unsigned>(bits & (~bits + 1));
}

Layout make_layout(DType dtype, std::int64_t rows, std::int64_t columns, std::int64_t leading) {
  cublasLtMatrixLayout_t layout = nullptr;
  check_cublas(cublasLtMatrixLayoutCreate(&layout, cuda_type(dtype), static_cast<std::uint64_t>(rows),
                                          static_cast<std::uint64_t>(columns), leading),
               "matrix layout");
  return Layout(layout);
}

struct Plan {
  Operation operation;
  Layout a, b, c;
  cublasLtMatmulAlgo_t algorithm;
};

Plan describe(const GemmProduct& product) {
  Plan plan{};
  cublasLtMatmulDesc_t operation = nullptr;
  check_cublas(cublasLtMatmulDescCreate(&operation, CUBLAS_COMPUTE_32F, CUDA_R_32F), "operation");
  plan.operation.reset(operation);
  const cublasOperation_t a = product.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N;
  const cublasOperation_t b = product.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N;
  check_cublas(cublasLtMatmulDescSetAttribute(operation, CUBLASLT_MATMUL_DESC_TRANSA, &a, sizeof(a)), "transpose a");
  check_cublas(cublasLtMatmulDescSetAttribute(operation, CUBLASLT_MATMUL_DESC_TRANSB, &b, sizeof(b)), "transpose b");
  plan.a = product.transpose_a ? make_layout(product.input, product.k, product.m, product.lda)
                               : make_layout(product.input, product.m, product.k, product.lda);
  plan.b = product.transpose_b ? make_layout(product.input, product.n, product.k, product.ldb)
                               : make_layout(product.input, product.k, product.n, product.ldb);
  plan.c = make_layout(product.output, product.m, product.n, product.m);
  return plan;
}

Preference make_preference(unsigned alignment) {
  cublasLtMatmulPreference_t preference = nullptr;
  check_cublas(cublasLtMatmulPreferenceCreate(&preference), "preference");
  Preference owner(preference);
  const auto set = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto& value) {
    check_cublas(cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value, sizeof(value)), "preference");
  };
  set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, kGemmWorkspaceBytes);
  // No split-k that rounds partial sums to 16 bits: whole, or partial sums in fp32.
  set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
      static_cast<std::uint32_t>(CUBLASLT_REDUCTION_SCHEME_NONE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, static_cast<std::uint32_t>(alignment));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, static_cast<std::uint32_t>(alignment));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, static_cast<std::uint32_t>(alignment));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, static_cast<std::uint32_t>(alignment));
  return owner;
}

}  // namespace

struct Gemm::Impl {
  explicit Impl(GemmAlgorithms algorithms) : tuned(std::move(algorithms)) {}
  ~Impl() {
    if (handle != nullptr) cublasLtDestroy(handle);
  }

  const Plan& plan_of(const GemmProduct& product, const std::string& key) {
    const auto found = plans.find(key);
    if (found != plans.end()) return found->second;
    open();
    Plan plan = describe(product);
    const auto entry = tuned.find(key);
    if (entry != tuned.end()) {
      std::memcpy(&plan.algorithm, entry->second.data(), sizeof(plan.algorithm));
      cublasLtMatmulHeuristicResult_t result{};
      check_cublas(cublasLtMatmulAlgoCheck(handle, plan.operation.get(), plan.a.get(), plan.b.get(), plan.c.get(),
                                           plan.c.get(), &plan.algorithm, &result),
                   "the tuned algorithm of " + key + " is not valid here (another GPU or library version?)");
      require(result.workspaceSize <= kGemmWorkspaceBytes, "cuBLASLt: the tuned algorithm of {} needs {} bytes", key,
              result.workspaceSize);
    } else {
      const auto first = candidates(plan, product.alignment, 1);
      require(!first.empty(), "cuBLASLt: no algorithm for {}", key);
      std::memcpy(&plan.algorithm, first.front().data(), sizeof(plan.algorithm));
    }
    return plans.emplace(key, std::move(plan)).first->second;
  }

  std::vector<GemmAlgorithm> candidates(const Plan& plan, unsigned alignment, int most) const {
    const Preference preference = make_preference(alignment);
    std::array<cublasLtMatmulHeuristicResult_t, kMostCandidates> results{};
    int found = 0;
    // The status says no more than `found`.
    (void)cublasLtMatmulAlgoGetHeuristic(handle, plan.operation.get(), plan.a.get(), plan.b.get(), plan.c.get(),
                                         plan.c.get(), preference.get(), std::min(most, kMostCandidates),
                                         results.data(), &found);
    std::vector<GemmAlgorithm> algorithms;
    for (int i = 0; i < found; ++i) {
      const auto& result = results[static_cast<std::size_t>(i)];
      if (result.state != CUBLAS_STATUS_SUCCESS) continue;
      std::memcpy(algorithms.emplace_back().data(), &result.algo, sizeof(result.algo));
    }
    return algorithms;
  }

  void open() {
    // The first product opens the library, so that an object for planning needs no GPU.
    if (handle == nullptr) check_cublas(cublasLtCreate(&handle), "could not start the library");
  }

  void run(const GemmCall& call, const Launch& launch) {
    const GemmProduct& product = call.product;
    require(product.input == DType::kF32 || product.input == DType::kF16 || product.input == DType::kBF16,
            "{}: the CUDA backend stores fp32, fp16 or bf16, not {}", call.op, name_of(product.input));
    require(product.output == product.input || product.output == DType::kF32,
            "{}: a product of {} tensors is stored in {} or fp32 on CUDA, not in {}", call.op, name_of(product.input),
            name_of(product.input), name_of(product.output));
    if (product.m == 0 || product.n == 0) return;
    const auto [a, b, c] = call.matrices;
    if (product.k == 0) {  // an empty sum
      if (!product.accumulate) {
        const std::size_t bytes = static_cast<std::size_t>(product.m * product.n) * size_of(product.output);
        LLAMA_ZERO_CUDA(cudaMemsetAsync(c, 0, bytes, launch.stream));
      }
      return;
    }
    require(launch.workspace.bytes() >= kGemmWorkspaceBytes, "{}: workspace has {} bytes, needs {}", call.op,
            launch.workspace.bytes(), kGemmWorkspaceBytes);
    const std::string key = product.key();
    const Plan& plan = plan_of(product, key);
    const float alpha = 1.0F;
    const float beta = product.accumulate ? 1.0F : 0.0F;
    check_cublas(
        cublasLtMatmul(handle, plan.operation.get(), &alpha, a, plan.a.get(), b, plan.b.get(), &beta, c, plan.c.get(),
                       c, plan.c.get(), &plan.algorithm, launch.workspace.raw(), kGemmWorkspaceBytes, launch.stream),
        fmt::format("{} of {}", call.op, key));
  }

  GemmAlgorithms tuned;
  cublasLtHandle_t handle = nullptr;
  std::unordered_map<std::string, Plan> plans;
};

std::string GemmProduct::key() const {
  return fmt::format("{}{} {}x{}x{} {}->{} beta{} align{}", transpose_a ? 't' : 'n', transpose_b ? 't' : 'n', m, n, k,
                     name_of(input), name_of(output), accumulate ? 1 : 0, alignment);
}

GemmCall gemm_call(const LinearForward& args) {
  const GemmMatrices matrices{args.weight.raw(), args.input.raw(), args.output.raw()};
  return {"linear_forward",
          {.transpose_a = true,
           .transpose_b = false,
           .m = args.out_features,
           .n = args.rows,
           .k = args.in_features,
           .lda = args.in_features,
           .ldb = args.in_features,
           .input = args.input.dtype(),
           .output = args.output.dtype(),
           .accumulate = false,
           .alignment = common_alignment(matrices)},
          matrices};
}

GemmCall gemm_call(const LinearBackwardInput& args) {
  const GemmMatrices matrices{args.weight.raw(), args.grad_output.raw(), args.grad_input.raw()};
  return {"linear_backward_input",
          {.transpose_a = false,
           .transpose_b = false,
           .m = args.in_features,
           .n = args.rows,
           .k = args.out_features,
           .lda = args.in_features,
           .ldb = args.out_features,
           .input = args.grad_output.dtype(),
           .output = args.grad_input.dtype(),
           .accumulate = args.accumulate,
           .alignment = common_alignment(matrices)},
          matrices};
}

GemmCall gemm_call(const LinearBackwardWeight& args) {
  const GemmMatrices matrices{args.input.raw(), args.grad_output.raw(), args.grad_weight.raw()};
  return {"linear_backward_weight",
          {.transpose_a = false,
           .transpose_b = true,
           .m = args.in_features,
           .n = args.out_features,
           .k = args.rows,
           .lda = args.in_features,
           .ldb = args.out_features,
           .input = args.grad_output.dtype(),
           .output = args.grad_weight.dtype(),
           .accumulate = args.accumulate,
           .alignment = common_alignment(matrices)},
          matrices};
}

Gemm::Gemm(GemmAlgorithms tuned) : impl_(std::make_unique<Impl>(std::move(tuned))) {}
Gemm::~Gemm() = default;

void Gemm::run(const GemmCall& call, const Launch& launch) { impl_->run(call, launch); }

void Gemm::use(GemmAlgorithms tuned) {
  impl_->tuned = std::move(tuned);
  impl_->plans.clear();
}

std::vector<GemmAlgorithm> Gemm::candidates(const GemmProduct& product, int most) {
  impl_->open();
  return impl_->candidates(describe(product), product.alignment, most);
}

GemmAlgorithms Gemm::algorithms() const {
  GemmAlgorithms result;
  for (const auto& [key, plan] : impl_->plans) {
    std::memcpy(result[key].data(), &plan.algorithm, sizeof(plan.algorithm));
  }
  return result;
}

}  // namespace llama_zero::cuda
