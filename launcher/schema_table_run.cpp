// Rows of the "llama_zero" section and of the batch triad.
#include "launcher/schema.h"

namespace llama_zero::schema_tables {

using enum ValueType;
using enum KeyStatus;

std::span<const SchemaKey> run_keys() {
  static constexpr SchemaKey kKeys[] = {
      {"llama_zero.model", kString, R"("tiny")", "", kHonoured,
       "a preset (tiny, 125m, 1.3b, llama2-7b, llama2-13b) or a Hugging Face folder"},
      {"llama_zero.data", kString, "null", "", kHonoured,
       "training rows, Alpaca JSON or JSON lines; null: the bundled sample"},
      {"llama_zero.eval_data", kString, "null", "", kHonoured, "rows to evaluate after training; null: none"},
      {"llama_zero.tokenizer", kString, "null", "", kHonoured,
       "tokenizer.model; null: the model folder's, else the bundled one"},
      {"llama_zero.sequence_length", kInt, "512", "> 0", kHonoured,
       "longest example in tokens; longer ones are truncated"},
      {"llama_zero.epochs", kNumber, "3", "> 0", kHonoured, "passes over the data; may be fractional"},
      {"llama_zero.max_steps", kInt, "0", ">= -1", kHonoured, "optimizer steps; 0 or -1: epochs decide"},
      {"llama_zero.output", kString, "null", "", kHonoured, "folder of the run; null: runs/<run_name>"},
      {"llama_zero.run_name", kString, "null", "", kHonoured, "name of the run; null: made from model and time"},
      {"llama_zero.seed", kInt, "42", ">= 0", kHonoured, "seed of weights and shuffling"},
      {"llama_zero.device", kString, R"("auto")", "auto|cpu|cuda", kHonoured,
       "where to compute; auto: CUDA if there is one"},
      {"llama_zero.attention", kString, R"("auto")", "auto|flash|cudnn", kHonoured,
       "attention kernel on a GPU; the CPU has one"},
      {"llama_zero.coalesce", kBool, "true", "", kHonoured,
       "run a step in as few passes as fit; false: the literal micro-steps"},
      {"llama_zero.max_tokens_per_pass", kInt, R"("auto")", "> 0", kHonoured, "tokens of a coalesced pass at most", "",
       "the memory plan decides"},
      {"llama_zero.train_on_prompt", kBool, "false", "", kHonoured, "prompt tokens count in the loss"},
      {"llama_zero.logits_chunk", kInt, "2048", "> 0", kHonoured, "tokens whose logits exist at a time"},
      {"llama_zero.loss_average", kString, R"("token")", "token|micro_batch", kRejected,
       "token: mean over the loss tokens of the global batch; micro_batch: DeepSpeed's mean of micro-batch means",
       "\"micro_batch\" is not supported yet; use \"token\""},
      {"train_batch_size", kInt, "null", "> 0", kHonoured, "rows of one optimizer step on all ranks", "",
       "micro batch x accumulation x ranks"},
      {"train_micro_batch_size_per_gpu", kInt, "null", "> 0", kHonoured, "rows of one micro-step on one rank", "",
       "what train_batch_size leaves, at most 8; 8 without it"},
      {"gradient_accumulation_steps", kInt, "null", "> 0", kHonoured, "micro-steps of one optimizer step", "",
       "what train_batch_size leaves; 1 without it"},
      {"managed_gradient_accumulation", kBool, "true", "", kNoEffect, "the engine owns the accumulation boundary",
       "the boundary is always the engine's here"},
  };
  return kKeys;
}

}  // namespace llama_zero::schema_tables
