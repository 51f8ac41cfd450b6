// The names in optimizer.type and scheduler.type: those that run, and a helpful sentence for each that does not.
#pragma once

#include <string>
#include <string_view>

namespace llama_zero {

/// `written` as the table spells it: DeepSpeed's own names in any case, torch.optim's exactly. `where` leads the
/// message of the Error for any other name.
std::string checked_optimizer_type(std::string_view written, std::string_view where);

/// The same for scheduler.type, whose names are exact.
std::string checked_scheduler_type(std::string_view written, std::string_view where);

}  // namespace llama_zero
