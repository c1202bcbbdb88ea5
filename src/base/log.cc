// SPDX-License-Identifier: Apache-2.0
// One line a record, one write() a line.

#include "base/log.h"

#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstring>

#include "base/json_writer.h"

namespace msb {
namespace {

// The one process-wide setting of this module: set before threads start, read by all.
std::atomic<LogLevel> g_level{LogLevel::kWarn};  // NOLINT
std::atomic<int> g_fd{2};                        // NOLINT
std::atomic<bool> g_json{false};                 // NOLINT

constexpr std::string_view kNames[] = {"error", "warn", "info", "debug"};

std::string Timestamp() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  tm utc{};
  ::gmtime_r(&now.tv_sec, &utc);
  char text[40];
  size_t n = ::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
  std::string ms = Cat(now.tv_nsec / 1'000'000);
  return Cat(std::string_view(text, n), ".", std::string(3 - ms.size(), '0'), ms, "Z");
}

}  // namespace

void SetLogging(const LogSettings& settings) {
  g_level = settings.level;
  g_fd = settings.fd;
  g_json = settings.json;
}

bool LogEnabled(LogLevel level) { return level <= g_level; }

void WriteLog(LogLevel level, std::string_view message, std::initializer_list<LogField> fields) {
  std::string line;
  if (g_json) {
    JsonWriter json;
    json.BeginObject();
    json.Key("time").String(Timestamp());
    json.Key("level").String(kNames[static_cast<size_t>(level)]);
    json.Key("message").String(message);
    for (const LogField& field : fields) {
      json.Key(field.key);
      if (field.number)
        json.Raw(field.value);
      else
        json.String(field.value);
    }
    json.EndObject();
    line = std::move(json).Take();
  } else {
    line = Cat(kNames[static_cast<size_t>(level)], ": ", message);
    for (const LogField& field : fields) line += Cat(" ", field.key, "=", Escape(field.value));
  }
  line += '\n';
  // A log that cannot be written has nowhere to say so.
  [[maybe_unused]] ssize_t n = ::write(g_fd, line.data(), line.size());
}

void RawLog(const char* message) {
  [[maybe_unused]] ssize_t n = ::write(2, message, std::strlen(message));
}

}  // namespace msb
