// SPDX-License-Identifier: Apache-2.0
// One write a notice, so that lines of the command do not come in between.

#include "programs/microbox/notice.h"

#include "base/text.h"
#include "sys/file.h"

namespace msb::microbox {
namespace {

void Write(std::string_view text) { (void)sys::WriteAll(BorrowedFd::Raw(2), text); }

}  // namespace

void Say(const Options& options, LogLevel level, std::string_view text) {
  Write(options.log_json ? LogLine(level, text, {}) : Cat("microbox: ", text, "\n"));
}

void Say(const Options& options, const Error& error) {
  if (options.log_json) {
    std::string message = error.message();
    Write(error.remedy().empty() ? LogLine(LogLevel::kError, message, {})
                                 : LogLine(LogLevel::kError, message, {{"fix", error.remedy()}}));
    return;
  }
  Write(Cat("microbox: ", error.message(), "\n",
            error.remedy().empty() ? "" : Cat("  fix: ", error.remedy(), "\n")));
}

bool AsksForJson(std::span<const std::string_view> words) {
  bool json = false;
  for (size_t i = 0; i < words.size() && words[i] != "--"; i++) {
    std::string_view word = words[i];
    if (!word.starts_with('-')) continue;
    word.remove_prefix(word.starts_with("--") ? 2 : 1);
    if (word == "log-format" && i + 1 < words.size()) json = words[++i] == "json";
    if (word.starts_with("log-format=")) json = word == "log-format=json";
  }
  return json;
}

}  // namespace msb::microbox
