// What a run of the lab would have taken: the plan of its command line, for runs that did not fit.
#pragma once

#include <string>
#include <vector>

#include "launcher/lab/lab_run.h"

namespace llama_zero::lab {

/// Fills what `run` was told and its planned memory from the words of its command line after the program's name, for
/// run.ranks ranks. False, and nothing filled, when there is no plan of it.
bool plan_run(const std::vector<std::string>& words, Run& run);

}  // namespace llama_zero::lab
