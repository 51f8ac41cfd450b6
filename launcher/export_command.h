// The command that turns a checkpoint into a model, without GPU, ranks or data.
#pragma once

#include "launcher/cli.h"
#include "launcher/host_group.h"

namespace llama_zero {

/// Collective; rank 0 works. Writes the fp32 masters of a checkpoint, of any stage and rank count, as a Hugging Face
/// folder, one unit at a time. Returns the exit code.
int run_export(const ExportArguments& arguments, const HostGroup& group);

}  // namespace llama_zero
