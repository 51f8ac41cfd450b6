// Rows of the "llama_zero" section and of the batch triad.
#include "launcher/schema.h"

namespace llama_zero::schema_tables {

using enum ValueType;
using enum KeyStatus;

std::span<const SchemaKey> run_keys() {
  static constexpr SchemaKey kKeys[] = {
      tested("another preset is another model",
             {"llama_zero.model", kString, R"("tiny")", "", kHonoured,
              "a preset (tiny, 125m, 1.3b, llama2-7b, llama2-13b) or a Hugging Face folder"}),
      tested("the rows of a run are those of its data",
             {"llama_zero.data", kString, "null", "", kHonoured,
              "training rows, Alpaca JSON or JSON lines; null: the bundled sample"}),
      tested("eval data gives a loss at the end",
             {"llama_zero.eval_data", kString, "null", "", kHonoured, "rows to evaluate after training; null: none"}),
      tested("a run reads the tokenizer that it is given",
             {"llama_zero.tokenizer", kString, "null", "", kHonoured,
              "tokenizer.model; null: the model folder's, else the bundled one"}),
      tested("longer examples are cut at sequence_length", {"llama_zero.sequence_length", kInt, "512", "> 0", kHonoured,
                                                            "longest example in tokens; longer ones are truncated"}),
      tested("epochs and max_steps decide how many steps a run takes",
             {"llama_zero.epochs", kNumber, "3", ">= 0", kHonoured,
              "passes over the data; may be fractional; 0: no step, the model is evaluated and exported as it is"}),
      tested("epochs and max_steps decide how many steps a run takes",
             {"llama_zero.max_steps", kInt, "0", ">= -1", kHonoured, "optimizer steps; 0 or -1: epochs decide"}),
      tested("output and run_name decide where a run leaves its files",
             {"llama_zero.output", kString, "null", "", kHonoured, "folder of the run; null: runs/<run_name>"}),
      tested(
          "output and run_name decide where a run leaves its files",
          {"llama_zero.run_name", kString, "null", "", kHonoured, "name of the run; null: made from model and time"}),
      tested(
          "a run saves checkpoints as often as it is told, and keeps as many",
          {"llama_zero.save_interval", kString, R"("30m")", "", kHonoured,
           "steps (\"500\") or time (\"90s\", \"30m\", \"2h\") between checkpoints; \"none\": only when told to stop"}),
      tested("a run saves checkpoints as often as it is told, and keeps as many",
             {"llama_zero.keep", kInt, "2", ">= 0", kHonoured, "newest checkpoints that stay; 0: all"}),
      tested("a run resumed is the run that was not stopped, bit for bit",
             {"llama_zero.resume", kString, "null", "", kHonoured,
              "go on from a checkpoint or the newest of a run: its folder, or \"latest\""}),
      tested("a run without export has its figures but no final model",
             {"llama_zero.export", kBool, "true", "", kHonoured,
              "write the final model, a Hugging Face folder; false: a run for its figures or checkpoints alone"}),
      tested("the final model is written in export_dtype, in files of max_shard_size at most",
             {"llama_zero.export_dtype", kString, R"("auto")", "auto|fp32|fp16|bf16", kHonoured,
              "storage of the final model, rounded from the fp32 masters; auto: that of training"}),
      tested("the final model is written in export_dtype, in files of max_shard_size at most",
             {"llama_zero.max_shard_size", kString, R"("5GB")", "", kHonoured,
              "largest weight file of the final model; more go into several with an index"}),
      tested("another seed gives other losses",
             {"llama_zero.seed", kInt, "42", ">= 0", kHonoured, "seed of weights and shuffling"}),
      tested("the device of a run is the one asked for, or an error",
             {"llama_zero.device", kString, R"("auto")", "auto|cpu|cuda", kHonoured,
              "where to compute; auto: CUDA if there is one"}),
      tested("cuDNN attention takes other widths of head when it is asked for by name",
             {"llama_zero.attention", kString, R"("auto")", "auto|flash|cudnn", kHonoured,
              "attention kernel on a GPU; the CPU has one"}),
      tested("tuning finds an algorithm for every product of a plan, and it computes the same product",
             {"llama_zero.tune", kString, "null", "", kHonoured,
              "on a GPU: file of the fastest cuBLASLt algorithm of each product; timed and written where there is "
              "none; null: "
              "the library's first guess"}),
      tested("the communicator of a run is the one asked for, or an error",
             {"llama_zero.communicator", kString, R"("auto")", "auto|nccl|mpi", kHonoured,
              "how ranks on GPUs exchange; auto: NCCL where every rank has a GPU of its own, else MPI"}),
      tested("a rank that stalls in a collective ends all ranks within collective_timeout, with one line",
             {"llama_zero.collective_timeout", kNumber, "300", "> 0", kHonoured,
              "seconds that a rank waits for the others in a collective or an agreement before it ends the run; for "
              "what they read, write or prepare twelve times as long"}),
      tested("a trace shows the streams of every rank for as many steps as it is told",
             {"llama_zero.trace", kString, "null", "", kHonoured,
              "file of a timeline of streams and ranks, for ui.perfetto.dev or chrome://tracing; null: none"}),
      tested("a trace shows the streams of every rank for as many steps as it is told",
             {"llama_zero.trace_steps", kInt, "10", "> 0", kHonoured, "steps in the trace, from the first of the run"}),
      tested("coalescing and its token limit decide the passes of a step",
             {"llama_zero.coalesce", kBool, "true", "", kHonoured,
              "run a step in as few passes as fit; false: the literal micro-steps"}),
      tested("coalescing and its token limit decide the passes of a step",
             {"llama_zero.max_tokens_per_pass", kInt, R"("auto")", "> 0", kHonoured,
              "tokens of a coalesced pass at most", "", "the memory plan decides"}),
      tested("training on the prompt adds its tokens to the loss",
             {"llama_zero.train_on_prompt", kBool, "false", "", kHonoured, "prompt tokens count in the loss"}),
      tested("smaller logits chunks take less memory and give the same loss",
             {"llama_zero.logits_chunk", kInt, "2048", "> 0", kHonoured, "tokens whose logits exist at a time"}),
      tested("the defaults profile brings back the defaults of an older DeepSpeed",
             {"llama_zero.defaults_profile", kString, R"("newest")", "", kHonoured,
              "the DeepSpeed version whose defaults count, such as \"0.18\"; several changed lately"}),
      tested("local accumulation keeps whole gradients on every rank",
             {"llama_zero.local_gradient_accumulation", kBool, "false", "", kHonoured,
              "stages 2 and 3 add the passes of a step up in full-size buffers and reduce once, as stages 0 and 1 do: "
              "more memory, less communication"}),
      tested("the loss is the mean that loss_average names",
             {"llama_zero.loss_average", kString, R"("token")", "token|micro_batch", kHonoured,
              "token: mean over the loss tokens of the global batch; micro_batch: DeepSpeed's mean of micro-batch "
              "means"}),
      tested("the triad decides rows of a step and of a pass",
             {"train_batch_size", kInt, "null", "> 0", kHonoured, "rows of one optimizer step on all ranks", "",
              "micro batch x accumulation x ranks"}),
      tested("the triad decides rows of a step and of a pass",
             {"train_micro_batch_size_per_gpu", kInt, "null", "> 0", kHonoured, "rows of one micro-step on one rank",
              "", "what train_batch_size leaves, at most 8; 8 without it"}),
      tested("the triad decides rows of a step and of a pass",
             {"gradient_accumulation_steps", kInt, "null", "> 0", kHonoured, "micro-steps of one optimizer step", "",
              "what train_batch_size leaves; 1 without it"}),
      {"managed_gradient_accumulation", kBool, "true", "", kNoEffect, "the engine owns the accumulation boundary",
       "the boundary is always the engine's here"},
  };
  return kKeys;
}

}  // namespace llama_zero::schema_tables
