// Which tune table a run on a GPU takes: the file that it names, that of its checkpoint, or one that is timed now.
#pragma once

#include <functional>
#include <string>

#include "core/files.h"

namespace llama_zero {

enum class TuneSource { kNone, kNamed, kCheckpoint, kTimed };

struct TuneChoice {
  TuneSource source = TuneSource::kNone;
  std::string text;  ///< of the table; empty for kNone, and for kTimed, where it is still to be made
  std::string note;  ///< one line for the log: what the checkpoint's table means for this run; may be empty
};

/// `path`: llama_zero.tune, empty: none. `stored`: text of the checkpoint's table, empty: none. `unfit` says why a
/// table cannot be used here, in a clause; empty: it can.
///
/// The named file decides when it is there. Otherwise the checkpoint's table goes on, so that products stay the same to
/// the bit; one that does not fit is ignored, and the named file is made anew.
TuneChoice choose_tune_table(const fs::path& path, const std::string& stored,
                             const std::function<std::string(const std::string& text)>& unfit);

}  // namespace llama_zero
