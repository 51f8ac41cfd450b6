#include "zero/unit_shards.h"

#include <algorithm>

namespace llama_zero {

UnitShards::UnitShards(const RankContext& context, const std::vector<bool>& on_device, DType dtype,
                       const ParamOffload& offload)
    : context_(context), piece_(offload.buffer_size) {
  require(!offload.enabled || piece_ > 0, "parameters: upload buffers of {} elements", piece_);
  const HostMemory kind = offload.pin_memory ? HostMemory::kPinned : HostMemory::kPageable;
  std::int64_t room = offload.enabled ? offload.max_in_cpu : 0;
  for (int unit = 0; unit < context.layout.unit_count(); ++unit) {
    const std::int64_t numel = context.layout[unit].shard;
    const bool moves = !on_device[static_cast<std::size_t>(unit)] && numel <= room;
    on_host_.push_back(moves);
    shards_.push_back(moves ? context.host.allocate("host weights", dtype, numel, kind)
                            : allocate_zeros(context, "weights", dtype, numel));
    if (moves) room -= numel;
  }
}

void UnitShards::bring(int unit, View device, Stream& stream) const {
  const ConstView shard = (*this)[unit];
  for (std::int64_t begin = 0; begin < shard.numel(); begin += piece_) {
    const std::int64_t count = std::min(piece_, shard.numel() - begin);
    context_.communicator.host_copy("copy_to_device", context_.device, shard.slice(begin, count),
                                    device.slice(begin, count), stream);
  }
}

void UnitShards::take(int unit, ConstView device, Stream& stream) const {
  context_.communicator.host_copy("copy_to_host", context_.device, device, (*this)[unit], stream);
}

}  // namespace llama_zero
