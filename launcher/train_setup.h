// Everything a training run has before its first step, found and checked on every rank.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/loader.h"
#include "launcher/cli.h"
#include "launcher/config.h"
#include "launcher/data_source.h"
#include "launcher/model_source.h"
#include "launcher/runtime.h"
#include "model/param_table.h"
#include "zero/engine.h"

namespace llama_zero {

struct TrainSetup {
  TrainConfig config;
  ModelSource model;
  std::unique_ptr<Tokenizer> tokenizer;
  std::unique_ptr<ParamTable> table;
  std::unique_ptr<DataSource> data;       ///< on the heap: the loaders refer to its token file
  std::unique_ptr<DataSource> eval_data;  ///< null: none
  LoaderOptions loader_options;           ///< with the limit of tokens a pass that was chosen
  std::unique_ptr<Loader> loader;
  std::unique_ptr<Loader> eval_loader;  ///< null: none
  EngineOptions engine;
  MemoryPlan plan;
  std::size_t free_bytes = 0;      ///< memory that a rank may take, the least of all ranks
  std::vector<std::string> notes;  ///< what was decided, for the header
};

/// Collective. Resolves the config against model and data, opens the data and plans the memory. Throws AgreedError for
/// whatever is wrong with them. A plan that does not fit is not an error here (check_fits).
TrainSetup prepare_training(const ConfigFile& file, Runtime& runtime);

/// The step that the plan is made for, replayed on the sizes of another backend.
MemoryPlan plan_with(const Ops& sizing, const TrainSetup& setup, const Runtime& runtime);

/// Throws Error when the plan needs more memory than is free on the GPU, or than the host has at all; the message names
/// a change that would make it fit.
void check_fits(const TrainSetup& setup, Runtime& runtime);

}  // namespace llama_zero
