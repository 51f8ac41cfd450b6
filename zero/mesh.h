// Where a rank stands in the grid of pipeline stages, data-parallel replicas and tensor-parallel slices.
//
// Ranks are numbered with the tensor axis fastest, then data, then pipeline, so that the ranks which talk most are
// neighbours: world rank = (pp * dp_size + dp) * tp_size + tp. ZeRO works on the data-parallel group.
#pragma once

#include <string>
#include <vector>

namespace llama_zero {

enum class MeshAxis { kPipeline, kData, kTensor };

class Mesh {
 public:
  /// Throws Error unless pp * dp * tp equals `world_size`, all sizes are positive and 0 <= rank < world_size.
  Mesh(int pp, int dp, int tp, int world_rank, int world_size);
  /// All ranks data-parallel.
  static Mesh data_parallel(int world_rank, int world_size) { return {1, world_size, 1, world_rank, world_size}; }

  int size(MeshAxis axis) const;
  /// This rank's coordinate on `axis`: its rank in the group of that axis.
  int coordinate(MeshAxis axis) const;
  /// Number of this rank's group among all groups of `axis`: ranks that differ on `axis` only share it.
  int group(MeshAxis axis) const;
  /// World ranks of this rank's group along `axis`, in coordinate order.
  std::vector<int> members(MeshAxis axis) const;
  int world_rank() const { return world_rank_; }
  int world_size() const { return pp_ * dp_ * tp_; }
  /// "pp 1 x dp 8 x tp 1"
  std::string description() const;

 private:
  int stride(MeshAxis axis) const;

  int pp_, dp_, tp_, world_rank_;
};

}  // namespace llama_zero
