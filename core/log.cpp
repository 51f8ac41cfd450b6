#include "core/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>

#include "core/error.h"

namespace llama_zero::log {
namespace {

struct Loggers {
  std::shared_ptr<spdlog::logger> out;
  std::shared_ptr<spdlog::logger> err;
  bool speaks = true;
  std::string prefix;
};

Loggers& loggers() {
  static Loggers instance = [] {
    Loggers l;
    l.out = std::make_shared<spdlog::logger>("out", std::make_shared<spdlog::sinks::stdout_sink_mt>());
    l.err = std::make_shared<spdlog::logger>("err", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    l.out->set_pattern("%v");
    l.err->set_pattern("%l: %v");
    l.out->flush_on(spdlog::level::info);
    l.err->flush_on(spdlog::level::debug);
    return l;
  }();
  return instance;
}

spdlog::level::level_enum to_spdlog(Level level) {
  switch (level) {
    case Level::kDebug: return spdlog::level::debug;
    case Level::kInfo: return spdlog::level::info;
    case Level::kWarning: return spdlog::level::warn;
    case Level::kError: return spdlog::level::err;
    case Level::kCritical: return spdlog::level::critical;
  }
  return spdlog::level::info;
}

}  // namespace

void configure(int rank, int world_size, Level level) {
  Loggers& l = loggers();
  l.speaks = rank == 0;
  l.prefix = world_size > 1 ? fmt::format("rank {}: ", rank) : "";
  l.out->set_level(to_spdlog(level));
  l.err->set_level(to_spdlog(level));
}

Level parse_level(std::string_view name) {
  if (name == "debug") return Level::kDebug;
  if (name == "info") return Level::kInfo;
  if (name == "warning") return Level::kWarning;
  if (name == "error") return Level::kError;
  if (name == "critical") return Level::kCritical;
  fail("log level '{}' is not one of debug, info, warning, error, critical", name);
}

void write(Level level, const std::string& message) {
  Loggers& l = loggers();
  if (level == Level::kInfo) {
    if (l.speaks) l.out->info(message);
    return;
  }
  l.err->log(to_spdlog(level), "{}{}", l.prefix, message);
}

}  // namespace llama_zero::log
