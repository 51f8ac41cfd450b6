// The CPU backend: checks the arguments, then runs the kernel at once on the calling thread and its team.
#include <sched.h>

#include <memory>

#include "kernels/check.h"
#include "kernels/cpu/blas.h"
#include "kernels/cpu/kernels.h"
#include "kernels/ops.h"

namespace llama_zero {

namespace {

int affinity_cores() {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  if (sched_getaffinity(0, sizeof(cores), &cores) != 0) return 1;
  return CPU_COUNT(&cores);
}

class CpuOps final : public Ops {
 public:
  explicit CpuOps(int threads) : threads_(threads > 0 ? threads : affinity_cores()) { cpu::use_one_blas_thread(); }

  void embedding_forward(const EmbeddingForward& args, Stream&) override { checked_run(args); }
  void embedding_backward(const EmbeddingBackward& args, Stream&) override { checked_run(args); }
  void rmsnorm_forward(const RmsNormForward& args, Stream&) override { checked_run(args); }
  void rmsnorm_backward(const RmsNormBackward& args, Stream&) override { checked_run(args); }
  void linear_forward(const LinearForward& args, Stream&) override { checked_run(args); }
  void linear_backward_input(const LinearBackwardInput& args, Stream&) override { checked_run(args); }
  void linear_backward_weight(const LinearBackwardWeight& args, Stream&) override { checked_run(args); }
  void rope(const Rope& args, Stream&) override { checked_run(args); }
  void attention_forward(const AttentionForward& args, Stream&) override { checked_run(args); }
  void attention_backward(const AttentionBackward& args, Stream&) override { checked_run(args); }
  void attention_decode(const AttentionDecode& args, Stream&) override { checked_run(args); }
  void store_key_value(const StoreKeyValue& args, Stream&) override { checked_run(args); }
  void swiglu_forward(const SwiGluForward& args, Stream&) override { checked_run(args); }
  void swiglu_backward(const SwiGluBackward& args, Stream&) override { checked_run(args); }
  void cross_entropy(const CrossEntropy& args, Stream&) override { checked_run(args); }
  void sum_losses(const SumLosses& args, Stream&) override { checked_run(args); }
  void cast(const Cast& args, Stream&) override { checked_run(args); }
  void add(const Add& args, Stream&) override { checked_run(args); }
  void fill(const Fill& args, Stream&) override { checked_run(args); }
  void reduce_pieces(const ReducePieces& args, Stream&) override { checked_run(args); }
  void sum_of_squares(const SumOfSquares& args, Stream&) override { checked_run(args); }
  void advance_step(const AdvanceStep& args, Stream&) override { checked_run(args); }
  void adamw(const AdamW& args, Stream&) override { checked_run(args); }
  void lion(const Lion& args, Stream&) override { checked_run(args); }
  void adagrad(const Adagrad& args, Stream&) override { checked_run(args); }
  void sgd(const Sgd& args, Stream&) override { checked_run(args); }

  std::size_t workspace_bytes(const EmbeddingBackward& args) const override { return cpu::workspace_bytes(args); }
  std::size_t workspace_bytes(const RmsNormBackward& args) const override { return cpu::workspace_bytes(args); }
  std::size_t workspace_bytes(const LinearForward& args) const override { return cpu::workspace_bytes(args, threads_); }
  std::size_t workspace_bytes(const LinearBackwardInput& args) const override {
    return cpu::workspace_bytes(args, threads_);
  }
  std::size_t workspace_bytes(const LinearBackwardWeight& args) const override {
    return cpu::workspace_bytes(args, threads_);
  }
  std::size_t workspace_bytes(const AttentionForward& args) const override {
    return cpu::workspace_bytes(args, threads_);
  }
  std::size_t workspace_bytes(const AttentionBackward& args) const override {
    return cpu::workspace_bytes(args, threads_);
  }
  std::size_t workspace_bytes(const SumOfSquares&) const override { return 0; }
  std::size_t workspace_bytes(const AttentionDecode& args) const override {
    return cpu::workspace_bytes(args, threads_);
  }

 private:
  template <typename Args>
  void checked_run(const Args& args) {
    check(args);
    cpu::run(args, {threads_, workspace_});
  }

  int threads_;
};

}  // namespace

std::unique_ptr<Ops> make_cpu_ops(int threads) { return std::make_unique<CpuOps>(threads); }

}  // namespace llama_zero
