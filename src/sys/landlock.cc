// SPDX-License-Identifier: Apache-2.0
// The three Landlock system calls (Linux 5.13).

#include "sys/landlock.h"

#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace msb::sys {
namespace {

constexpr long kCreateRuleset = 444;
constexpr long kAddRule = 445;
constexpr long kRestrictSelf = 446;
constexpr unsigned kVersionFlag = 1;
constexpr int kPathBeneath = 1;
constexpr uint64_t kScopeSignal = 2;

// struct landlock_ruleset_attr; a shorter size is an older ABI.
struct RulesetAttributes {
  uint64_t handled_access_fs;
  uint64_t handled_access_net;
  uint64_t scoped;
};

struct [[gnu::packed]] PathBeneath {
  uint64_t allowed_access;
  int32_t parent_fd;
};

}  // namespace

Result<int> LandlockAbi() {
  long abi = ::syscall(kCreateRuleset, nullptr, 0, kVersionFlag);
  if (abi < 1) {
    int err = errno;
    return Error(Code::kUnimplemented, err == EOPNOTSUPP ? "Landlock is switched off at boot"
                                                         : "this kernel has no Landlock")
        .Remedy("boot a kernel with CONFIG_SECURITY_LANDLOCK and landlock in the lsm= list");
  }
  return static_cast<int>(abi);
}

LandlockHandled HandledByLandlock(int abi) {
  LandlockHandled handled;
  handled.fs = (1 << 13) - 1;
  if (abi >= 2) handled.fs |= landlock::kRefer;
  if (abi >= 3) handled.fs |= landlock::kTruncate;
  if (abi >= 4) handled.net = 3;
  if (abi >= 5) handled.fs |= landlock::kIoctlDevice;
  if (abi >= 6) handled.scoped = 3;
  return handled;
}

namespace {

int CreateRuleset(int abi, LandlockHandled handled, LandlockSignals signals) {
  if (signals == LandlockSignals::kAllow) handled.scoped &= ~kScopeSignal;
  RulesetAttributes attributes{handled.fs, handled.net, handled.scoped};
  size_t size = abi >= 6 ? 24 : abi >= 4 ? 16 : 8;
  return static_cast<int>(::syscall(kCreateRuleset, &attributes, size, 0));
}

}  // namespace

int RawLandlockCreate(int abi, LandlockSignals signals) {
  return CreateRuleset(abi, HandledByLandlock(abi), signals);
}

int RawLandlockCreateForFiles(int abi, LandlockSignals signals) {
  LandlockHandled handled = HandledByLandlock(abi);
  handled.net = 0;
  return CreateRuleset(abi, handled, signals);
}

int RawLandlockAllow(int ruleset, int path, uint64_t rights) {
  PathBeneath rule{rights, path};
  return static_cast<int>(::syscall(kAddRule, ruleset, kPathBeneath, &rule, 0));
}

int RawLandlockRestrictSelf(int ruleset) {
  return static_cast<int>(::syscall(kRestrictSelf, ruleset, 0));
}

Result<LandlockRuleset> LandlockRuleset::Create(int abi, LandlockSignals signals) {
  int fd = RawLandlockCreate(abi, signals);
  if (fd == -1) return Error::Errno("landlock_create_ruleset");
  return LandlockRuleset(UniqueFd(fd), abi, HandledByLandlock(abi).fs);
}

Result<void> LandlockRuleset::Allow(BorrowedFd path, uint64_t rights) {
  struct stat info;
  if (::fstat(path.get(), &info) == -1) return Error::Errno("fstat");
  if (!S_ISDIR(info.st_mode)) rights &= landlock::kFileRights;
  if (RawLandlockAllow(fd_.get(), path.get(), rights & handled_) == -1)
    return Error::Errno("landlock_add_rule");
  return {};
}

Result<void> LandlockRuleset::RestrictSelf() const {
  if (RawLandlockRestrictSelf(fd_.get()) == -1) return Error::Errno("landlock_restrict_self");
  return {};
}

}  // namespace msb::sys
