#include "launcher/data_position.h"

namespace llama_zero {

void describe_data(RunPosition& position, const TrainSetup& setup, const LoaderPosition& next) {
  position.epoch = next.epoch;
  position.row_in_epoch = next.batch_in_epoch * setup.loader_options.global_batch;
  const TokenFileKey& key = setup.data->tokens.key();
  const std::uint64_t rows_of[] = {key.source_hash, key.template_hash, key.max_tokens};
  position.data_hash = hash_bytes(std::as_bytes(std::span(rows_of)));
  position.tokenizer_hash = setup.tokenizer->fingerprint();
  position.seed = setup.config.run.seed;
  if (setup.model.imported) position.model_folder = fs::absolute(setup.model.folder).string();
}

}  // namespace llama_zero
