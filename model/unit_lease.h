// RAII over ParamSource::acquire and release.
#pragma once

#include <exception>

#include "core/log.h"
#include "model/param_access.h"

namespace llama_zero {

/// Holds one unit's weights from construction to destruction.
class UnitLease {
 public:
  UnitLease(ParamSource& source, int unit, Stream& stream)
      : source_(source), unit_(unit), stream_(stream), weights_(source.acquire(unit, stream)) {}
  ~UnitLease() {
    try {
      source_.release(unit_, stream_);
    } catch (const std::exception& failure) {
      log::error("releasing unit {}: {}", unit_, failure.what());
    }
  }
  UnitLease(const UnitLease&) = delete;
  UnitLease& operator=(const UnitLease&) = delete;

  ConstView weights() const { return weights_; }
  int unit() const { return unit_; }

 private:
  ParamSource& source_;
  int unit_;
  Stream& stream_;
  ConstView weights_;
};

}  // namespace llama_zero
