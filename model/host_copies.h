// How block inputs travel to host memory and back: whoever has the streams does it and may watch it.
#pragma once

#include "core/device.h"
#include "core/view.h"

namespace llama_zero {

enum class CopyWay { kToHost, kToDevice };

class HostCopies {
 public:
  virtual ~HostCopies() = default;
  /// Where copies of that way run, beside the computation.
  virtual Stream& stream(CopyWay way) = 0;
  /// A copy on that stream.
  virtual void copy(CopyWay way, ConstView source, View destination) = 0;
  /// Later work of `compute` follows `event`, recorded after a copy.
  virtual void wait(CopyWay way, Event& event, Stream& compute) = 0;
};

}  // namespace llama_zero
