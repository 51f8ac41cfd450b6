// The memory formulas that users know: DeepSpeed's estimators, and the lab's two. Model states only: no activations, no
// buffers, no workspace.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/param_table.h"

namespace llama_zero {

/// What DeepSpeed's estimate_zero{2,3}_model_states_mem_needs take.
struct EstimatorInput {
  std::int64_t params = 0;         ///< P: elements, shared tensors once
  std::int64_t largest_layer = 0;  ///< L: elements of the largest single module's own parameters
  int gpus_per_node = 1;           ///< G
  int nodes = 1;
  double buffer_factor = 1.5;  ///< f, additional_buffer_factor
};

struct EstimatorRow {
  std::string options;         ///< "offload_optimizer=cpu "
  std::int64_t cpu_bytes = 0;  ///< of a node
  std::int64_t gpu_bytes = 0;  ///< of a GPU
};

/// P and L of a model; the module of L is the embedding or lm_head for every Llama-2.
EstimatorInput estimator_input(const ParamTable& table, int gpus_per_node, int nodes);

/// estimate_zero2_model_states_mem_needs, its two rows:
///   offload_optimizer=cpu   GPU 2P                        CPU P max(4 G nodes, 16) f
///   offload_optimizer=none  GPU 2P + floor(18P / G nodes) CPU 4 P G f
std::vector<EstimatorRow> estimate_zero2(const EstimatorInput& input);

/// estimate_zero3_model_states_mem_needs, its six rows:
///   param and optimizer, zero_init=1  GPU 4L                         CPU 18 P / nodes f
///   param and optimizer, zero_init=0  GPU 4L                         CPU P max(4 G, 18 / nodes) f
///   optimizer, zero_init=1            GPU 4L + floor(2P / G nodes)   CPU 16 P / nodes f
///   optimizer, zero_init=0            the same                       CPU P max(4 G, 16 / nodes) f
///   none, zero_init=1                 GPU 4L + floor(18P / G nodes)  CPU 4 L G f
///   none, zero_init=0                 the same                       CPU 4 P G f
std::vector<EstimatorRow> estimate_zero3(const EstimatorInput& input);

/// Both as DeepSpeed prints them ("GB" is 2^30 bytes): header lines, then "per CPU | per GPU | Options".
std::string format_zero2(const EstimatorInput& input);
std::string format_zero3(const EstimatorInput& input);

/// The lab: standard data parallelism, 16 bytes a parameter on every rank.
double lab_standard_bytes(std::int64_t params);
/// The lab: ZeRO, 2 P + 14 P / N.
double lab_zero_bytes(std::int64_t params, int ranks);

}  // namespace llama_zero
