#include "zero/mesh.h"

#include "core/error.h"

namespace llama_zero {

Mesh::Mesh(int pp, int dp, int tp, int world_rank, int world_size)
    : pp_(pp), dp_(dp), tp_(tp), world_rank_(world_rank) {
  require(pp > 0 && dp > 0 && tp > 0, "mesh: sizes must be positive, not pp {} x dp {} x tp {}", pp, dp, tp);
  require(pp * dp * tp == world_size, "mesh: pp {} x dp {} x tp {} is not the {} ranks started", pp, dp, tp,
          world_size);
  require(world_rank >= 0 && world_rank < world_size, "mesh: rank {} of {}", world_rank, world_size);
}

int Mesh::size(MeshAxis axis) const {
  switch (axis) {
    case MeshAxis::kPipeline:
      return pp_;
    case MeshAxis::kData:
      return dp_;
    case MeshAxis::kTensor:
      return tp_;
  }
  return 1;
}

int Mesh::stride(MeshAxis axis) const {
  switch (axis) {
    case MeshAxis::kPipeline:
      return dp_ * tp_;
    case MeshAxis::kData:
      return tp_;
    case MeshAxis::kTensor:
      return 1;
  }
  return 1;
}

int Mesh::coordinate(MeshAxis axis) const { return world_rank_ / stride(axis) % size(axis); }

int Mesh::group(MeshAxis axis) const {
  const int inner = world_rank_ % stride(axis);
  const int outer = world_rank_ / (stride(axis) * size(axis));
  return outer * stride(axis) + inner;
}

std::vector<int> Mesh::members(MeshAxis axis) const {
  std::vector<int> ranks;
  const int first = world_rank_ - coordinate(axis) * stride(axis);
  for (int i = 0; i < size(axis); ++i) ranks.push_back(first + i * stride(axis));
  return ranks;
}

std::string Mesh::description() const { return fmt::format("pp {} x dp {} x tp {}", pp_, dp_, tp_); }

}  // namespace llama_zero
