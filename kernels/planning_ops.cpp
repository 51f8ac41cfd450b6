#include "kernels/planning_ops.h"

namespace llama_zero {

void PlanningOps::embedding_forward(const EmbeddingForward& args, Stream&) { check(args); }
void PlanningOps::embedding_backward(const EmbeddingBackward& args, Stream&) { check_and_size(args); }
void PlanningOps::rmsnorm_forward(const RmsNormForward& args, Stream&) { check(args); }
void PlanningOps::rmsnorm_backward(const RmsNormBackward& args, Stream&) { check_and_size(args); }
void PlanningOps::linear_forward(const LinearForward& args, Stream&) { check_and_size(args); }
void PlanningOps::linear_backward_input(const LinearBackwardInput& args, Stream&) { check_and_size(args); }
void PlanningOps::linear_backward_weight(const LinearBackwardWeight& args, Stream&) { check_and_size(args); }
void PlanningOps::rope(const Rope& args, Stream&) { check(args); }
void PlanningOps::attention_forward(const AttentionForward& args, Stream&) { check_and_size(args); }
void PlanningOps::attention_backward(const AttentionBackward& args, Stream&) { check_and_size(args); }
void PlanningOps::attention_decode(const AttentionDecode& args, Stream&) { check_and_size(args); }
void PlanningOps::store_key_value(const StoreKeyValue& args, Stream&) { check(args); }
void PlanningOps::swiglu_forward(const SwiGluForward& args, Stream&) { check(args); }
void PlanningOps::swiglu_backward(const SwiGluBackward& args, Stream&) { check(args); }
void PlanningOps::cross_entropy(const CrossEntropy& args, Stream&) { check(args); }
void PlanningOps::sum_losses(const SumLosses& args, Stream&) { check(args); }
void PlanningOps::cast(const Cast& args, Stream&) { check(args); }
void PlanningOps::add(const Add& args, Stream&) { check(args); }
void PlanningOps::fill(const Fill& args, Stream&) { check(args); }
void PlanningOps::reduce_pieces(const ReducePieces& args, Stream&) { check(args); }
void PlanningOps::sum_of_squares(const SumOfSquares& args, Stream&) { check_and_size(args); }
void PlanningOps::advance_step(const AdvanceStep& args, Stream&) { check(args); }
void PlanningOps::adamw(const AdamW& args, Stream&) { check(args); }
void PlanningOps::lion(const Lion& args, Stream&) { check(args); }
void PlanningOps::adagrad(const Adagrad& args, Stream&) { check(args); }
void PlanningOps::sgd(const Sgd& args, Stream&) { check(args); }

}  // namespace llama_zero
