// SPDX-License-Identifier: Apache-2.0
// Which of a user's subordinate ids his sandboxes have, each a byte of one file of his by the id's
// own number, locked as long as a sandbox runs. By number, and not by their place in /etc/subuid:
// so two sandboxes never take the same id for their own, whatever becomes of that file meanwhile.

#pragma once

#include <cstdint>
#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace msb::jail {

class SubordinateLocks {
 public:
  enum class Kind : uint8_t { kUsers, kGroups };
  enum class Use : uint8_t { kOwn, kShared };
  // Whether the directory and the file are made where they are not there.
  enum class Missing : uint8_t { kMake, kFail };

  // `directory` is 0700 and the user's, or refused.
  static Result<SubordinateLocks> Open(const std::string& directory, Missing missing);

  // False when another sandbox has one of them in a way that forbids this one. The kernel lets go
  // when the last copy of the descriptor is closed.
  Result<bool> Take(Kind kind, uint32_t first, uint32_t count, Use use);
  // Of all that was taken.
  Result<void> LetGo();

  UniqueFd Release() && { return std::move(file_); }

 private:
  explicit SubordinateLocks(UniqueFd file) : file_(std::move(file)) {}
  UniqueFd file_;
};

}  // namespace msb::jail
