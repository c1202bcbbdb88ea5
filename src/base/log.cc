// SPDX-License-Identifier: Apache-2.0
// One line a record, one write() a line.

#include "base/log.h"

#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>

#include "base/json_writer.h"

namespace msb {
namespace {

// The one process-wide setting of this module: set before threads start, read by all.
std::atomic<LogLevel> g_level{LogLevel::kWarn};  // NOLINT
std::atomic<int> g_fd{2};                        // NOLINT
std::atomic<bool> g_json{false};                 // NOLINT

constexpr std::string_view kNames[] = {"error", "warn", "info", "debug"};

std::string Digits(int64_t value, size_t width) {
  std::string text = Cat(value);
  return std::string(width - std::min(width, text.size()), '0') + text;
}

std::string Timestamp() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return UtcText(std::chrono::seconds(now.tv_sec), static_cast<unsigned>(now.tv_nsec / 1'000'000));
}

}  // namespace

// Not gmtime() and strftime(): with the zones that these may need they are a tenth of a small
// program.
std::string UtcText(std::chrono::seconds since_epoch, unsigned ms) {
  auto day = std::chrono::floor<std::chrono::days>(since_epoch);
  std::chrono::year_month_day date{std::chrono::sys_days(day)};
  int64_t second = (since_epoch - day).count();
  return Cat(Digits(static_cast<int>(date.year()), 4), "-",
             Digits(static_cast<unsigned>(date.month()), 2), "-",
             Digits(static_cast<unsigned>(date.day()), 2), "T", Digits(second / 3600, 2), ":",
             Digits(second / 60 % 60, 2), ":", Digits(second % 60, 2), ".", Digits(ms, 3), "Z");
}

void SetLogging(const LogSettings& settings) {
  g_level = settings.level;
  g_fd = settings.fd;
  g_json = settings.json;
}

bool LogEnabled(LogLevel level) { return level <= g_level; }

std::string LogLine(LogLevel level, std::string_view message,
                    std::initializer_list<LogField> fields) {
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
  return line + '\n';
}

void WriteLog(LogLevel level, std::string_view message, std::initializer_list<LogField> fields) {
  std::string line = LogLine(level, message, fields);
  // A log that cannot be written has nowhere to say so.
  [[maybe_unused]] ssize_t n = ::write(g_fd, line.data(), line.size());
}

void RawLog(const char* message) {
  [[maybe_unused]] ssize_t n = ::write(2, message, std::strlen(message));
}

}  // namespace msb
