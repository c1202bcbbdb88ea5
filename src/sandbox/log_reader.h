// SPDX-License-Identifier: Apache-2.0
// LogReader: a log that a LogFile writes, from its older half (<name>.1) through every rotation.
//
// The writer renames <name> to <name>.1, over an older one, and begins a new file: so a reader that
// holds the old one open reads it to its end and goes on with what the names say then. Only who is
// slower than a whole file loses any.

#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace msb::sandbox {

class LogReader {
 public:
  // `dir` outlives the reader. nullopt: there is no such log.
  static Result<std::optional<LogReader>> Open(BorrowedFd dir, std::string name);

  // Before the first CopyTo: only the last lines of what there is.
  Result<void> SkipToTail(uint64_t lines);
  // Everything that is new.
  Result<void> CopyTo(const std::function<Result<void>(std::string_view)>& take);

 private:
  LogReader(BorrowedFd dir, std::string name) : dir_(dir), name_(std::move(name)) {}
  Result<void> TakeFiles();

  BorrowedFd dir_;
  std::string name_;
  // Oldest first; the last was <name> when we looked. Each is read to its end.
  std::vector<UniqueFd> files_;
};

}  // namespace msb::sandbox
