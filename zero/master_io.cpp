#include "zero/master_io.h"

#include <algorithm>

namespace llama_zero {
namespace {

constexpr std::int64_t kStagingElements = std::int64_t{1} << 18;  // 1 MB
constexpr std::int64_t kHostChunk = std::int64_t{1} << 20;

std::int64_t staging_elements(const RankContext& context) {
  std::int64_t largest = 0;
  for (int unit = 0; unit < context.layout.unit_count(); ++unit)
    largest = std::max(largest, context.layout[unit].padded());
  const std::int64_t least = kShardAlignment * context.ranks();
  return std::max(least, std::min(largest, kStagingElements));
}

}  // namespace

MasterIo::MasterIo(const RankContext& context)
    : context_(context), staging_(context.arena.allocate("staging", DType::kF32, staging_elements(context))) {}

void MasterIo::write(ShardedOptimizer& optimizer, const UnitReader& read, Stream& stream) {
  for (int unit = 0; unit < context_.layout.unit_count(); ++unit) write(unit, optimizer.master(unit), read, stream);
}

void MasterIo::write(int unit, View target, const UnitReader& read, Stream& stream) {
  const UnitPartition& partition = context_.layout[unit];
  const bool whole = target.numel() == partition.padded();
  const std::int64_t first = whole ? 0 : context_.layout.own_begin(unit);
  std::vector<float> host;
  for (std::int64_t begin = 0; begin < target.numel(); begin += kHostChunk) {
    const std::int64_t count = std::min(kHostChunk, target.numel() - begin);
    const std::int64_t valid = std::clamp<std::int64_t>(partition.numel - first - begin, 0, count);
    host.assign(static_cast<std::size_t>(count), 0.0F);
    if (valid > 0) read(unit, first + begin, std::span(host).first(static_cast<std::size_t>(valid)));
    context_.device.copy(ConstView::of<float>(host), target.slice(begin, count), stream);
    stream.synchronize();
  }
}

void MasterIo::gather(int unit, ConstView own, bool on_host, int root, std::vector<float>& out, Stream& stream) {
  const UnitPartition& partition = context_.layout[unit];
  const bool wanted = root == kEveryRank || root == context_.rank();
  if (wanted) out.resize(static_cast<std::size_t>(partition.numel));
  const View all = wanted ? View::of<float>(out) : View();
  if (own.numel() == partition.padded()) {
    if (wanted) context_.device.copy(own.slice(0, partition.numel), all, stream);
    stream.synchronize();
  } else if (root == kEveryRank) {
    gather_everywhere(partition, own, on_host, all, stream);
  } else {
    gather_on(root, partition, own, on_host, all, stream);
  }
}

void MasterIo::gather_everywhere(const UnitPartition& partition, ConstView own, bool on_host, View out,
                                 Stream& stream) {
  const std::int64_t piece = staging_.numel() / context_.ranks();
  for (std::int64_t begin = 0; begin < partition.shard; begin += piece) {
    const std::int64_t count = std::min(piece, partition.shard - begin);
    const View all = staging_.slice(0, count * context_.ranks());
    ConstView send = own.slice(begin, count);
    if (on_host) {
      const View staged = all.slice(context_.rank() * count, count);
      context_.device.copy(send, staged, stream);
      send = staged;
    }
    context_.communicator.all_gather(send, all, stream);
    for (int rank = 0; rank < context_.ranks(); ++rank) {
      const std::int64_t valid = std::clamp<std::int64_t>(partition.valid(rank) - begin, 0, count);
      if (valid == 0) continue;
      context_.device.copy(all.slice(rank * count, valid), out.slice(partition.begin(rank) + begin, valid), stream);
    }
    stream.synchronize();
  }
}

void MasterIo::gather_on(int root, const UnitPartition& partition, ConstView own, bool on_host, View out,
                         Stream& stream) {
  if (context_.rank() != root) {
    send_to(root, own.slice(0, partition.valid(context_.rank())), on_host, stream);
    return;
  }
  for (int rank = 0; rank < context_.ranks(); ++rank) {
    if (partition.valid(rank) == 0) continue;
    const View part = out.slice(partition.begin(rank), partition.valid(rank));
    if (rank == root) {
      context_.device.copy(own.slice(0, part.numel()), part, stream);
    } else {
      receive_from(rank, part, stream);
    }
  }
  stream.synchronize();
}

void MasterIo::send_to(int root, ConstView own, bool on_host, Stream& stream) {
  for (std::int64_t begin = 0; begin < own.numel(); begin += staging_.numel()) {
    ConstView piece = own.slice(begin, std::min(staging_.numel(), own.numel() - begin));
    if (on_host) {
      const View staged = staging_.slice(0, piece.numel());
      context_.device.copy(piece, staged, stream);
      piece = staged;
    }
    context_.communicator.send(piece, root, stream);
    stream.synchronize();
  }
}

void MasterIo::receive_from(int rank, View out, Stream& stream) {
  for (std::int64_t begin = 0; begin < out.numel(); begin += staging_.numel()) {
    const View piece = staging_.slice(0, std::min(staging_.numel(), out.numel() - begin));
    context_.communicator.recv(piece, rank, stream);
    context_.device.copy(piece, out.slice(begin, piece.numel()), stream);
    stream.synchronize();
  }
}

void MasterIo::read_shard(int unit, ConstView own, std::int64_t begin, std::span<float> out, Stream& stream) {
  const UnitPartition& partition = context_.layout[unit];
  const bool whole = own.numel() == partition.padded();
  const std::int64_t first = (whole ? context_.layout.own_begin(unit) : 0) + begin;
  require(begin >= 0 && begin + std::ssize(out) <= partition.valid(context_.rank()),
          "engine: values {} to {} of unit {} are not in rank {}'s shard", begin, begin + std::ssize(out), unit,
          context_.rank());
  if (out.empty()) return;
  context_.communicator.host_copy("copy_to_host", context_.device, own.slice(first, std::ssize(out)),
                                  View::of<float>(out), stream);
  stream.synchronize();
}

void MasterIo::read(int unit, ConstView values, std::vector<float>& out, Stream& stream) {
  const std::int64_t numel = context_.layout[unit].numel;
  out.resize(static_cast<std::size_t>(numel));
  for (std::int64_t begin = 0; begin < numel; begin += staging_.numel()) {
    const View chunk = staging_.slice(0, std::min(staging_.numel(), numel - begin));
    context_.ops.cast({values.slice(begin, chunk.numel()), chunk, 1.0}, stream);
    context_.device.copy(chunk, View::of<float>(out).slice(begin, chunk.numel()), stream);
    stream.synchronize();
  }
}

}  // namespace llama_zero
