// The lab-report command: the runs of scripts/lab as tables, CSV files and one page.
#pragma once

#include "launcher/cli.h"

namespace llama_zero {

/// Prints every table, writes each as a CSV file beside the page, and the page itself. Parts whose folder is not there
/// are left out. Throws Error when the input has no part at all, a run cannot be read or the output cannot be written.
void run_lab_report(const LabReportArguments& arguments);

}  // namespace llama_zero
