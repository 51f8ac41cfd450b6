// cpu_checkpointing: what a block keeps of its input waits in host memory for its backward.
//
// The device holds two inputs: blocks write and read theirs in turns (layer % 2), and the last two never leave. Events
// order the copies with the computation, which waits only for what it is about to read, and for the buffer it is about
// to write.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "core/device.h"
#include "core/host_arena.h"
#include "core/view.h"
#include "model/host_copies.h"

namespace llama_zero {

class HostCheckpoints {
 public:
  static constexpr std::int64_t kOnDevice = 2;

  /// Memory comes from `host`, label "host activations", when a pass needs it: for the next power of two of its tokens.
  /// All must outlive the object.
  HostCheckpoints(HostArena& host, HostCopies& copies, Device& device, std::int64_t layers, std::int64_t hidden,
                  DType dtype);
  /// Waits for its copies.
  ~HostCheckpoints();
  HostCheckpoints(const HostCheckpoints&) = delete;
  HostCheckpoints& operator=(const HostCheckpoints&) = delete;

  void begin_pass(std::int64_t tokens);
  /// Work of `compute` after this may write the buffer of `layer`.
  void before_forward(std::int64_t layer, Stream& compute);
  /// `input` [T, H], the buffer of `layer`, has been written by work of `compute`.
  void after_forward(std::int64_t layer, ConstView input, Stream& compute);
  /// Work of `compute` after this may read the input of `layer`; that of the layer below it, for which `below` is the
  /// buffer, is on its way up from when work given before has passed.
  void before_backward(std::int64_t layer, View below, Stream& compute);

 private:
  bool leaves(std::int64_t layer) const { return layer >= 0 && layer < layers_ - kOnDevice; }
  View waiting(std::int64_t layer) const { return memory_.slice(layer * tokens_ * hidden_, tokens_ * hidden_); }

  HostArena& host_;
  HostCopies& copies_;
  std::int64_t layers_, hidden_;
  DType dtype_;
  std::int64_t tokens_ = 0;
  View memory_;  ///< [layers - 2, T, H] of the pass, at the front
  std::unique_ptr<Event> written_, read_;
  std::array<std::unique_ptr<Event>, kOnDevice> left_, arrived_;  ///< by layer % 2
};

}  // namespace llama_zero
