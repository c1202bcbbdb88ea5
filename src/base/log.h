// SPDX-License-Identifier: Apache-2.0
// Logging: a constant message with fields beside it. Text for people on a terminal, JSON lines
// otherwise.
//   LOG(kInfo, "sandbox started", {"id", id}, {"ms", 12});
// One process writes whole lines with one write() each; nothing is buffered.

#pragma once

#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>

#include "base/text.h"

namespace msb {

enum class LogLevel : uint8_t { kError, kWarn, kInfo, kDebug };

struct LogField {
  std::string_view key;
  std::string value;
  bool number = false;

  LogField(std::string_view k, std::string_view v) : key(k), value(v) {}
  LogField(std::string_view k, const char* v) : key(k), value(v) {}
  LogField(std::string_view k, const std::string& v) : key(k), value(v) {}
  template <class T>
  requires(std::is_integral_v<T>) LogField(std::string_view k, T v)
      : key(k),
        value(Cat(static_cast<std::conditional_t<std::is_signed_v<T>, int64_t, uint64_t>>(v))),
        number(true) {}
};

// Where lines go and which ones; set once at the start of a program.
struct LogSettings {
  LogLevel level = LogLevel::kWarn;
  int fd = 2;
  bool json = false;
};
void SetLogging(const LogSettings& settings);

bool LogEnabled(LogLevel level);
void WriteLog(LogLevel level, std::string_view message, std::initializer_list<LogField> fields);
// What WriteLog() writes, for whoever writes it himself.
std::string LogLine(LogLevel level, std::string_view message,
                    std::initializer_list<LogField> fields);

// "2026-01-31T23:59:59.007Z"
std::string UtcText(std::chrono::seconds since_epoch, unsigned ms);

// For after-fork and signal paths: no allocation, no lock, one write to stderr.
void RawLog(const char* message);

#define LOG(level, message, ...)                                       \
  do {                                                                 \
    if (::msb::LogEnabled(::msb::LogLevel::level))                     \
      ::msb::WriteLog(::msb::LogLevel::level, message, {__VA_ARGS__}); \
  } while (false)

}  // namespace msb
