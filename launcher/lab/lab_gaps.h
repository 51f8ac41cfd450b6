// What a part of the lab lacks, said in its section: runs that failed, that were left out, or that were not come to.
#pragma once

#include <vector>

#include "launcher/lab/lab_run.h"
#include "launcher/lab/lab_section.h"

namespace llama_zero::lab {

/// True, and said, when the part has no run: the lab had not come to it.
bool has_no_runs(Section& section, const std::vector<Run>& runs);
/// A paragraph for each run that failed, with its command and message.
void explain_failures(Section& section, const std::vector<Run>& runs);
/// One paragraph that names the runs that were left out, and why; none without them.
void name_left_out(Section& section, const std::vector<Run>& runs);

}  // namespace llama_zero::lab
