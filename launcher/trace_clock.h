// How far the clocks of ranks on several hosts are apart.
#pragma once

#include <cstdint>
#include <span>

#include "launcher/host_group.h"

namespace llama_zero {

/// One question of rank 0 and another rank's answer; nanoseconds, each of its own clock.
struct ClockExchange {
  std::int64_t asked = 0, answered = 0, heard = 0;
};

/// How far the answering clock is ahead, from the exchange that took the shortest: its answer came half way (Cristian,
/// "Probabilistic clock synchronization", 1989). 0 when that cannot be told from 0, as on one host. Throws Error when
/// there is none.
std::int64_t clock_offset(std::span<const ClockExchange> exchanges);

/// Collective: what to take from this rank's trace_now for the time since all ranks met here, on rank 0's clock.
std::int64_t trace_origin(const HostGroup& group);

}  // namespace llama_zero
