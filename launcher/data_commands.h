// The commands that only make files: tokenize and sample.
#pragma once

#include "launcher/cli.h"
#include "launcher/host_group.h"

namespace llama_zero {

/// Collective. Builds or finds the token file of an Alpaca file and says what is in it. Returns the exit code.
int run_tokenize(const TokenizeArguments& arguments, const HostGroup& group);

/// Collective. Writes the bundled sample's two files. Returns the exit code.
int run_sample(const SampleArguments& arguments, const HostGroup& group);

}  // namespace llama_zero
