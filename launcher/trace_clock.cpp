#include "launcher/trace_clock.h"

#include <mpi.h>

#include <algorithm>
#include <array>
#include <cstdlib>

#include "core/trace.h"

namespace llama_zero {
namespace {

constexpr int kTag = 3;
constexpr int kExchanges = 16;

void check(int code) { require(code == MPI_SUCCESS, "trace: clocks could not be compared (MPI error {})", code); }

void tell(std::int64_t value, int rank) { check(MPI_Send(&value, 1, MPI_INT64_T, rank, kTag, MPI_COMM_WORLD)); }

std::int64_t hear(int rank) {
  std::int64_t value = 0;
  check(MPI_Recv(&value, 1, MPI_INT64_T, rank, kTag, MPI_COMM_WORLD, MPI_STATUS_IGNORE));
  return value;
}

std::int64_t ask(int rank) {
  std::array<ClockExchange, kExchanges> exchanges;
  for (ClockExchange& exchange : exchanges) {
    exchange.asked = trace_now();
    tell(0, rank);
    exchange.answered = hear(rank);
    exchange.heard = trace_now();
  }
  return clock_offset(exchanges);
}

void answer() {
  for (int i = 0; i < kExchanges; ++i) {
    hear(0);
    tell(trace_now(), 0);
  }
}

}  // namespace

std::int64_t clock_offset(std::span<const ClockExchange> exchanges) {
  require(!exchanges.empty(), "trace: no clocks were compared");
  const ClockExchange& best = *std::ranges::min_element(
      exchanges, {}, [](const ClockExchange& exchange) { return exchange.heard - exchange.asked; });
  const std::int64_t half = (best.heard - best.asked) / 2;
  const std::int64_t offset = best.answered - (best.asked + half);
  return std::abs(offset) <= half ? 0 : offset;
}

std::int64_t trace_origin(const HostGroup& group) {
  group.barrier();
  if (group.rank() > 0) {
    answer();
    return hear(0);
  }
  const std::int64_t origin = trace_now();
  for (int rank = 1; rank < group.size(); ++rank) tell(origin + ask(rank), rank);
  return origin;
}

}  // namespace llama_zero
