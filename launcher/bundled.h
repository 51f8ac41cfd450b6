// What comes with the program: the tokenizer and the generated sample of data/sample/.
#pragma once

#include "core/files.h"

namespace llama_zero {

/// data/sample/tokenizer.model, looked for from the working folder, the executable's folder and up to two folders above
/// it. Throws Error that lists the places when it is in none.
fs::path bundled_tokenizer();

struct SampleFiles {
  fs::path train;
  fs::path held_out;
  bool written = false;  ///< by this call
};

/// The sample as Alpaca files (JSON lines) in data/cache/ beside data/sample/, or, when that folder cannot be written,
/// in $XDG_CACHE_HOME/llama_zero or ~/.cache/llama_zero. Files with other content than the generator's are replaced
/// atomically. Throws Error when no folder can be written.
SampleFiles bundled_sample();

/// Writes train.jsonl and held_out.jsonl to `folder`, which is created.
SampleFiles write_sample(const fs::path& folder);

}  // namespace llama_zero
