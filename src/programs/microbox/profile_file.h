// SPDX-License-Identifier: Apache-2.0
// The files of --profile and --learn.

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "jail/box/call_policy.h"

namespace msb::microbox {

// Errors name the file and the line.
Result<std::vector<box::CallRule>> LoadProfile(const std::string& path);

// A file that is written when the run is over: whole, or not at all.
class LearntFile {
 public:
  // Finds out, before anything is started, whether it will be possible. Makes nothing.
  static Result<LearntFile> Prepare(const std::string& path);
  // Replaces what was there; mode 0644 less the umask.
  Result<void> Write(std::string_view text) const;
  const std::string& path() const { return path_; }

 private:
  LearntFile(std::string path, std::string name, UniqueFd directory)
      : path_(std::move(path)), name_(std::move(name)), directory_(std::move(directory)) {}
  std::string path_, name_;
  UniqueFd directory_;
};

}  // namespace msb::microbox
