// Forecasts and advice as text.
#pragma once

#include <string>

#include "launcher/plan_advice.h"
#include "launcher/plan_case.h"

namespace llama_zero {

/// A line a label, largest first, and the total; a second column where something lies in host memory beside the device.
std::string format_forecast(const MemoryForecast& forecast);

/// A line a change with the figure it gives, those that fit marked; then what changes give together, if those are
/// needed.
std::string format_advice(const Advice& advice);

}  // namespace llama_zero
