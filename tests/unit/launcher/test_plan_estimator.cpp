// DeepSpeed's estimators and the lab's formulas, against numbers worked out by hand.
#include <doctest/doctest.h>

#include <string>

#include "launcher/plan_estimator.h"

using namespace llama_zero;

namespace {

/// P = 1e9, L = 1e8, two nodes of four GPUs, f = 1.5.
EstimatorInput two_nodes() { return {1000000000, 100000000, 4, 2}; }

void check_row(const EstimatorRow& row, const char* options, std::int64_t cpu, std::int64_t gpu) {
  INFO(row.options);
  CHECK(row.options == options);
  CHECK(row.cpu_bytes == cpu);
  CHECK(row.gpu_bytes == gpu);
}

}  // namespace

TEST_CASE("the ZeRO-2 estimator gives DeepSpeed's two rows") {
  const auto rows = estimate_zero2(two_nodes());
  REQUIRE(rows.size() == 2);
  // 1e9 * max(4 * 8, 16) * 1.5, 2e9; 4 * 1e9 * 4 * 1.5, 2e9 + 18e9 / 8
  check_row(rows[0], "offload_optimizer=cpu ", 48000000000, 2000000000);
  check_row(rows[1], "offload_optimizer=none", 24000000000, 4250000000);
}

TEST_CASE("the ZeRO-3 estimator gives DeepSpeed's six rows") {
  const auto rows = estimate_zero3(two_nodes());
  REQUIRE(rows.size() == 6);
  // GPU: 4 L = 4e8; + 2e9 / 8 = 6.5e8; + 18e9 / 8 = 2.65e9. CPU: 18e9 / 2 * 1.5; 1e9 * max(16, 9) * 1.5; 16e9 / 2
  // * 1.5; 1e9 * max(16, 8) * 1.5; 4 * 1e8 * 4 * 1.5; 4 * 1e9 * 4 * 1.5.
  check_row(rows[0], "offload_param=cpu , offload_optimizer=cpu , zero_init=1", 13500000000, 400000000);
  check_row(rows[1], "offload_param=cpu , offload_optimizer=cpu , zero_init=0", 24000000000, 400000000);
  check_row(rows[2], "offload_param=none, offload_optimizer=cpu , zero_init=1", 12000000000, 650000000);
  check_row(rows[3], "offload_param=none, offload_optimizer=cpu , zero_init=0", 24000000000, 650000000);
  check_row(rows[4], "offload_param=none, offload_optimizer=none, zero_init=1", 2400000000, 2650000000);
  check_row(rows[5], "offload_param=none, offload_optimizer=none, zero_init=0", 24000000000, 2650000000);
}

TEST_CASE("on one GPU the host terms are 16 and 18 bytes a parameter") {
  const EstimatorInput one{1000000000, 100000000, 1, 1};
  check_row(estimate_zero2(one)[0], "offload_optimizer=cpu ", 24000000000, 2000000000);  // max(4, 16)
  check_row(estimate_zero2(one)[1], "offload_optimizer=none", 6000000000, 20000000000);  // 2e9 + 18e9
  CHECK(estimate_zero3(one)[1].cpu_bytes == 27000000000);                                // max(4, 18)
  CHECK(estimate_zero3(one)[3].cpu_bytes == 24000000000);                                // max(4, 16)
}

TEST_CASE("shares of GPUs are cut to whole bytes") {
  const EstimatorInput odd{7, 3, 4, 1};
  CHECK(estimate_zero2(odd)[1].gpu_bytes == 14 + 31);  // 18 * 7 / 4 = 31.5
  CHECK(estimate_zero3(odd)[2].gpu_bytes == 12 + 3);   // 2 * 7 / 4 = 3.5
}

TEST_CASE("the buffer factor multiplies host memory alone") {
  EstimatorInput input = two_nodes();
  input.buffer_factor = 1.0;
  CHECK(estimate_zero2(input)[0].cpu_bytes == 32000000000);
  CHECK(estimate_zero2(input)[0].gpu_bytes == 2000000000);
  CHECK(estimate_zero3(input)[4].cpu_bytes == 1600000000);
}

TEST_CASE("Llama-2's largest module is the embedding, and tied tables count once") {
  LlamaConfig config = preset_config("llama2-7b");
  const EstimatorInput untied = estimator_input(ParamTable(config), 8, 1);
  CHECK(untied.params == 6738415616);
  CHECK(untied.largest_layer == 32000 * 4096);
  config.tie_word_embeddings = true;
  CHECK(estimator_input(ParamTable(config), 8, 1).params == 6738415616 - 32000 * 4096);
  config.vocab_size = 1000;  // then the largest is gate_proj or up_proj, not both in one
  CHECK(estimator_input(ParamTable(config), 8, 1).largest_layer == 4096 * 11008);
}

TEST_CASE("the estimators print as DeepSpeed's do") {
  // 2 * 2.851e9 / 2^30 = 5.31; 2.851e9 * 16 * 1.5 / 2^30 = 63.72; 20 * 2.851e9 / 2^30 = 53.10
  const EstimatorInput input{2851000000, 32000000, 1, 1};
  CHECK(format_zero2(input) ==
        "Estimated memory needed for params, optim states and gradients for a:\n"
        "HW: Setup with 1 node, 1 GPU per node.\n"
        "SW: Model with 2851M total params.\n"
        "  per CPU  |  per GPU |   Options\n"
        "    63.72GB |   5.31GB | offload_optimizer=cpu \n"
        "    15.93GB |  53.10GB | offload_optimizer=none\n");
  const std::string zero3 = format_zero3(two_nodes());
  CHECK(zero3.find("HW: Setup with 2 nodes, 4 GPUs per node.\n") != std::string::npos);
  CHECK(zero3.find("SW: Model with 1000M total params, 100M largest layer params.\n") != std::string::npos);
}

TEST_CASE("the lab's formulas: 16 P, and 2 P + 14 P / N") {
  CHECK(lab_standard_bytes(6738415616) == 107814649856.0);
  CHECK(lab_zero_bytes(6738415616, 8) == 25269058560.0);  // 3.75 bytes a parameter
  CHECK(lab_zero_bytes(6738415616, 1) == lab_standard_bytes(6738415616));
}
