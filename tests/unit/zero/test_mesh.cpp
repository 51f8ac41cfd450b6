#include <doctest/doctest.h>

#include <initializer_list>
#include <set>

#include "core/error.h"
#include "zero/mesh.h"

using namespace llama_zero;

TEST_CASE("a data-parallel mesh is the world") {
  const Mesh mesh = Mesh::data_parallel(2, 4);
  CHECK(mesh.size(MeshAxis::kData) == 4);
  CHECK(mesh.coordinate(MeshAxis::kData) == 2);
  CHECK(mesh.coordinate(MeshAxis::kTensor) == 0);
  CHECK(mesh.coordinate(MeshAxis::kPipeline) == 0);
  CHECK(mesh.group(MeshAxis::kData) == 0);
  CHECK(mesh.members(MeshAxis::kData) == std::vector<int>{0, 1, 2, 3});
  CHECK(mesh.members(MeshAxis::kTensor) == std::vector<int>{2});
  CHECK(mesh.description() == "pp 1 x dp 4 x tp 1");
}

TEST_CASE("tensor neighbours are adjacent ranks and pipeline stages are farthest apart") {
  const Mesh mesh(2, 3, 2, 9, 12);  // 9 = (1 * 3 + 1) * 2 + 1
  CHECK(mesh.coordinate(MeshAxis::kPipeline) == 1);
  CHECK(mesh.coordinate(MeshAxis::kData) == 1);
  CHECK(mesh.coordinate(MeshAxis::kTensor) == 1);
  CHECK(mesh.members(MeshAxis::kTensor) == std::vector<int>{8, 9});
  CHECK(mesh.members(MeshAxis::kData) == std::vector<int>{7, 9, 11});
  CHECK(mesh.members(MeshAxis::kPipeline) == std::vector<int>{3, 9});
}

TEST_CASE("along each axis the groups partition the world and group numbers tell them apart") {
  for (const MeshAxis axis : {MeshAxis::kPipeline, MeshAxis::kData, MeshAxis::kTensor}) {
    std::set<std::pair<int, int>> places;
    for (int rank = 0; rank < 24; ++rank) {
      const Mesh mesh(2, 3, 4, rank, 24);
      places.insert({mesh.group(axis), mesh.coordinate(axis)});
      const std::vector<int> members = mesh.members(axis);
      CHECK(members[static_cast<std::size_t>(mesh.coordinate(axis))] == rank);
      for (const int member : members) CHECK(Mesh(2, 3, 4, member, 24).group(axis) == mesh.group(axis));
    }
    CHECK(places.size() == 24);
  }
}

TEST_CASE("a mesh that does not match the ranks is refused") {
  CHECK_THROWS_WITH_AS(Mesh(2, 2, 1, 0, 8), "mesh: pp 2 x dp 2 x tp 1 is not the 8 ranks started", Error);
  CHECK_THROWS_AS(Mesh(1, 0, 1, 0, 0), Error);
  CHECK_THROWS_AS(Mesh(1, 2, 1, 2, 2), Error);
}
