// SPDX-License-Identifier: Apache-2.0
// Errors, tables and lines on stderr.

#include "programs/msb/ui.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>

#include "base/json_writer.h"
#include "base/text.h"
#include "sys/file.h"
#include "sys/process.h"

namespace msb::cli {

std::string FormatError(const Error& error, Format format) {
  if (format == Format::kJson) return ErrorJson(error);
  std::string text = Cat("msb: ", Escape(error.message(), 4096), "\n");
  if (!error.remedy().empty()) text += Cat("  fix: ", Escape(error.remedy(), 4096), "\n");
  return text;
}

int Fail(const Error& error, Format format, int exit_code) {
  // Nobody is left to tell when stderr is gone.
  (void)sys::WriteAll(BorrowedFd::Raw(2), FormatError(error, format));
  return exit_code;
}

void Notice(std::string_view text, Format format) {
  std::string line = Cat(Escape(text, 4096), "\n");
  if (format == Format::kJson) {
    JsonWriter json;
    json.BeginObject().Key("notice").String(text).EndObject();
    line = std::move(json).Take() + "\n";
  }
  (void)sys::WriteAll(BorrowedFd::Raw(2), line);
}

void Print(std::string_view text) {
  auto written = sys::WriteAll(BorrowedFd::Raw(1), text);
  if (written) return;
  if (written.error().sys_errno() == EPIPE) {
    ::signal(SIGPIPE, SIG_DFL);
    ::raise(SIGPIPE);
  }
  std::_Exit(Fail(std::move(written).error().Context("stdout"), Format::kText, kExitFailed));
}

bool IsTerminal(int fd) { return ::isatty(fd) == 1; }

bool UseColor(int fd) {
  auto no_color = sys::GetEnv("NO_COLOR");
  return IsTerminal(fd) && (!no_color || no_color->empty());
}

size_t DisplayWidth(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char byte) {
    return (static_cast<unsigned char>(byte) & 0xC0) != 0x80;  // Not a continuation of UTF-8.
  }));
}

std::string Table::Text(bool bold_header) const {
  std::vector<size_t> widths(rows_[0].size(), 0);
  for (const auto& row : rows_)
    for (size_t i = 0; i < row.size() && i < widths.size(); i++)
      widths[i] = std::max(widths[i], DisplayWidth(row[i]));
  std::string text;
  for (size_t r = 0; r < rows_.size(); r++) {
    std::string line;
    for (size_t i = 0; i < rows_[r].size(); i++) {
      line += rows_[r][i];
      if (i + 1 < rows_[r].size()) line.append(widths[i] - DisplayWidth(rows_[r][i]) + 2, ' ');
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += r == 0 && bold_header ? Cat("\033[1m", line, "\033[0m\n") : line + "\n";
  }
  return text;
}

Progress::Progress(bool on) : on_(on && IsTerminal(2)) {}

void Progress::Show(std::string_view text) {
  if (!on_) return;
  (void)sys::WriteAll(BorrowedFd::Raw(2), Cat("\r\033[K", Escape(text, 200)));
  shown_ = true;
}

void Progress::Clear() {
  if (std::exchange(shown_, false)) (void)sys::WriteAll(BorrowedFd::Raw(2), "\r\033[K");
}

}  // namespace msb::cli
