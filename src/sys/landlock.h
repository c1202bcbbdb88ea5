// SPDX-License-Identifier: Apache-2.0
// Landlock: a process gives up access to files, TCP ports, abstract sockets and signals for good.
// Raw system calls and our own constants: Debian 12's headers know ABI 2, running kernels more.

#pragma once

#include <cstdint>
#include <span>

#include "base/fd.h"
#include "base/result.h"

namespace msb::sys {

namespace landlock {
inline constexpr uint64_t kExecute = 1 << 0;
inline constexpr uint64_t kWriteFile = 1 << 1;
inline constexpr uint64_t kReadFile = 1 << 2;
inline constexpr uint64_t kReadDir = 1 << 3;
inline constexpr uint64_t kRemoveDir = 1 << 4;
inline constexpr uint64_t kRemoveFile = 1 << 5;
inline constexpr uint64_t kMakeChar = 1 << 6;
inline constexpr uint64_t kMakeDir = 1 << 7;
inline constexpr uint64_t kMakeRegular = 1 << 8;
inline constexpr uint64_t kMakeSocket = 1 << 9;
inline constexpr uint64_t kMakeFifo = 1 << 10;
inline constexpr uint64_t kMakeBlock = 1 << 11;
inline constexpr uint64_t kMakeSymlink = 1 << 12;
inline constexpr uint64_t kRefer = 1 << 13;        // ABI 2, Linux 5.19
inline constexpr uint64_t kTruncate = 1 << 14;     // ABI 3, Linux 6.2
inline constexpr uint64_t kIoctlDevice = 1 << 15;  // ABI 5, Linux 6.10

inline constexpr uint64_t kReadTree = kReadFile | kReadDir;
inline constexpr uint64_t kWriteTree = kReadTree | kWriteFile | kTruncate | kRemoveDir |
                                       kRemoveFile | kMakeDir | kMakeRegular | kRefer;
// What a rule on something other than a directory may grant.
inline constexpr uint64_t kFileRights =
    kExecute | kWriteFile | kReadFile | kTruncate | kIoctlDevice;
}  // namespace landlock

// The kernel's ABI version, 1 and up. kUnimplemented: not built in or not switched on.
Result<int> LandlockAbi();

// All bits of one ABI version, as the kernel takes them. Pure.
struct LandlockHandled {
  uint64_t fs = 0;      // ABI 1 and up.
  uint64_t net = 0;     // ABI 4: bind and connect over TCP.
  uint64_t scoped = 0;  // ABI 6: abstract Unix sockets and signals across the domain's edge.
};
LandlockHandled HandledByLandlock(int abi);

// Signals across the domain's edge: kForbid also stops a parent's death signal to children that are
// outside, and a supervisor from killing what it started before it confined itself.
enum class LandlockSignals : uint8_t { kForbid, kAllow };

// Everything that `abi` can forbid is forbidden but for what Allow() grants.
class LandlockRuleset {
 public:
  static Result<LandlockRuleset> Create(int abi, LandlockSignals signals);
  // Rights beneath (or of) an open file; bits that this ABI lacks, or that a non-directory cannot
  // have, are left out.
  Result<void> Allow(BorrowedFd path, uint64_t rights);
  // Confines the calling thread; no_new_privs must be set.
  Result<void> RestrictSelf() const;

  const UniqueFd& fd() const { return fd_; }
  int abi() const { return abi_; }

 private:
  LandlockRuleset(UniqueFd fd, int abi, uint64_t handled)
      : fd_(std::move(fd)), abi_(abi), handled_(handled) {}
  UniqueFd fd_;
  int abi_;
  uint64_t handled_;
};

// For code between clone and exec, which reports errno itself: 0 or -1.
int RawLandlockCreate(int abi, LandlockSignals signals);
// As HandledByLandlock(), but TCP is left alone.
int RawLandlockCreateForFiles(int abi, LandlockSignals signals);
int RawLandlockAllow(int ruleset, int path, uint64_t rights);
int RawLandlockRestrictSelf(int ruleset);

}  // namespace msb::sys
