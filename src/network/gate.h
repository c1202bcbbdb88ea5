// SPDX-License-Identifier: Apache-2.0
// Who uses the host's shared network objects, and which numbers are taken: open-file-description
// locks (fcntl(2)) on bytes of one file for each network namespace, which the kernel lets go of
// when their holder dies.
//
//   /run/microsandbox/network-INODE
//     byte 0       shared by every sandbox that has a bridge; alone by who takes everything away
//     byte 1 + N   alone by the sandbox with the number N
//
// The file is there as long as the shared objects may be. Its lines are the names of interfaces
// that were switched on to forward. Whoever removes it holds byte 0 alone, and whoever opened it
// meanwhile sees that it has no name any more, and opens again.

#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/deadline.h"
#include "base/fd.h"
#include "base/result.h"

namespace msb::network {

class Gate {
 public:
  // Beside the others; waits while somebody takes everything away.
  static Result<Gate> Enter(const std::string& directory, Deadline deadline);
  // Alone, in front of what nobody uses any more: nullopt when there is no file, or when somebody
  // uses it.
  static Result<std::optional<Gate>> EnterAbandoned(const std::string& directory);

  // kResourceExhausted when all of [first, end) are taken.
  Result<uint32_t> ClaimNumber(uint32_t first, uint32_t end);
  // Of those that nobody else has: nobody can take it until Release().
  Result<bool> TryNumber(uint32_t number);
  void Release(uint32_t number);
  // True: nobody else is beside us, or comes.
  Result<bool> BecomeLast();

  Result<void> AddSwitched(const std::string& link);
  Result<std::vector<std::string>> Switched() const;
  // By the last only.
  Result<void> Remove() &&;

  // What it consists of.
  std::array<int, 2> Descriptors() const { return {dir_.get(), file_.get()}; }

 private:
  Gate(UniqueFd dir, std::string name, UniqueFd file)
      : dir_(std::move(dir)), name_(std::move(name)), file_(std::move(file)) {}
  Result<bool> Lock(uint32_t byte, short type);
  Result<bool> HasName() const;
  static Result<std::optional<Gate>> Open(const std::string& directory, int flags);

  UniqueFd dir_;
  std::string name_;
  UniqueFd file_;
};

}  // namespace msb::network
