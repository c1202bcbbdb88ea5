// SPDX-License-Identifier: Apache-2.0
// How msb speaks: errors with their remedy, tables that line up, colours on terminals only.

#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace msb::cli {

// Of what msb itself has to say; a program's own code is passed on.
inline constexpr int kExitFailed = 1;        // A command that runs nothing in a guest.
inline constexpr int kExitNotStarted = 125;  // Usage, set-up: before the program ran.
inline constexpr int kExitMachineDied = 120;

enum class Format : uint8_t { kText, kJson };

// "msb: MESSAGE\n  fix: REMEDY\n", or one line of {"error":{...}}, with control bytes escaped.
std::string FormatError(const Error& error, Format format);
// The same to stderr. Returns `exit_code`.
int Fail(const Error& error, Format format, int exit_code);
// One line to stderr.
void Notice(std::string_view text, Format format);

// Whole text to stdout. A reader that has gone ends the program as SIGPIPE does.
void Print(std::string_view text);

bool IsTerminal(int fd);
bool UseColor(int fd);  // A terminal, and NO_COLOR not set.

class Table {
 public:
  explicit Table(std::vector<std::string> header) : rows_{std::move(header)} {}
  void Add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  // Columns as wide as their widest cell, two spaces apart, no spaces at the ends of lines.
  std::string Text(bool bold_header) const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

// Columns of a terminal that `text` takes: characters, not bytes.
size_t DisplayWidth(std::string_view text);

// A line on a terminal that is rewritten and wiped; elsewhere nothing.
class Progress {
 public:
  explicit Progress(bool on);
  ~Progress() { Clear(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  void Show(std::string_view text);
  void Clear();

 private:
  bool on_;
  bool shown_ = false;
};

}  // namespace msb::cli
