// The parts of the lab's page, one for each of its four notebooks; the third is two.
#pragma once

#include <vector>

#include "core/files.h"
#include "launcher/lab/lab_run.h"
#include "launcher/lab/lab_section.h"

namespace llama_zero::lab {

/// Where scripts/lab puts the parts, below the lab's folder.
inline constexpr const char* kReportFolder = "1-report";
inline constexpr const char* kTrainingFolder = "2-training";
inline constexpr const char* kMemoryFolder = "3-memory";
inline constexpr const char* kSweepFolder = "3-sweep";
inline constexpr const char* kScalingFolder = "4-scaling";

/// 01: what `llama_zero report` printed.
Section report_section(const fs::path& folder);
/// 02: losses, rates and answers of the ZeRO-2 and the ZeRO-3 run. `folder` has the answers-*.json of `eval`, or
/// not-asked.txt with why there are none.
Section training_section(const fs::path& folder, const std::vector<Run>& runs);
/// 03, first experiment: memory by stage and label, predicted beside measured.
Section memory_section(const std::vector<Run>& runs);
/// 03, second experiment: micro-batch, accumulation, offload, overlap.
Section sweep_section(std::vector<Run> runs);
/// 04: speed and communication by stage and rank count.
Section scaling_section(const std::vector<Run>& runs);
/// Llama-2-7B on 1, 2, 4 and 8 ranks as `llama_zero plan` finds it, beside it what those of `runs` measured that are of
/// that model, and the lab's figures beside the right ones.
Section seven_billion_section(const std::vector<Run>& runs);

}  // namespace llama_zero::lab
