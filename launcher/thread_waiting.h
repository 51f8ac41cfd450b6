// How OpenMP threads wait for each other.
#pragma once

namespace llama_zero {

/// Threads that wait for each other are to sleep, not to spin: where ranks or other programs want the same cores, a
/// thread that spins keeps the one it waits for from running (steps of 25 ms became 1,000 ms on a machine of two
/// virtual cores). The OpenMP library reads this from the environment before main(), so the process starts itself again
/// with OMP_WAIT_POLICY=passive, once. Does nothing when OMP_WAIT_POLICY or GOMP_SPINCOUNT is set, or when the restart
/// fails. Call it first in main(), before MPI and any thread.
void restart_with_sleeping_threads(char** argv);

}  // namespace llama_zero
