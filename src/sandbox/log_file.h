// SPDX-License-Identifier: Apache-2.0
// A log of bounded size: when the file is full it becomes <name>.1 and a new one begins.

#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace msb::sandbox {

inline constexpr uint64_t kLogFileBytes = uint64_t{16} << 20;

class LogFile {
 public:
  // `dir` outlives the log.
  static Result<LogFile> Create(BorrowedFd dir, std::string name, uint64_t limit = kLogFileBytes);
  Result<void> Append(std::span<const std::byte> bytes);

 private:
  LogFile(BorrowedFd dir, std::string name, uint64_t limit, UniqueFd file)
      : dir_(dir), name_(std::move(name)), limit_(limit), file_(std::move(file)) {}
  Result<void> Rotate();

  BorrowedFd dir_;
  std::string name_;
  uint64_t limit_;
  UniqueFd file_;
  uint64_t size_ = 0;
};

}  // namespace msb::sandbox
