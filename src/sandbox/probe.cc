// SPDX-License-Identifier: Apache-2.0
// The choice of an isolation, and the remembered answer about KVM.

#include "sandbox/probe.h"

#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>

#include "base/text.h"
#include "sandbox/kvm_advice.h"
#include "sandbox/kvm_probe.h"
#include "sys/file.h"

namespace msb::sandbox {
namespace {

constexpr const char* kCacheName = "kvm-probe";

// Whatever could change the answer: another boot, another device node or mode, another user.
std::string CacheKey(const char* device) {
  std::string key = "1";
  if (auto boot = sys::ReadFileAt(sys::Cwd(), "/proc/sys/kernel/random/boot_id", 64))
    key += Cat(" ", boot->substr(0, 36));
  if (auto found = sys::FindAt(sys::Cwd(), device); found && *found) {
    const struct stat& st = **found;
    key += Cat(" ", st.st_rdev, " ", st.st_ino, " ", st.st_mode, " ", st.st_uid, " ", st.st_gid,
               " ", st.st_ctim.tv_sec, ".", st.st_ctim.tv_nsec);
  }
  key += Cat(" ", ::geteuid(), " ", ::getegid());
  std::array<gid_t, 256> groups;
  int count = ::getgroups(static_cast<int>(groups.size()), groups.data());
  for (int i = 0; i < count; i++) key += Cat(" ", groups[static_cast<size_t>(i)]);
  return key;
}

// The same question would get the same answer until the key changes.
bool Lasts(const KvmTrial& trial) {
  switch (trial.failure) {
    case KvmFailure::kNone:
    case KvmFailure::kVersion:
      return true;
    case KvmFailure::kCannotRun:
      return trial.exit_reason != 0;  // 0: the child that asked was killed.
    case KvmFailure::kAbsent:
    case KvmFailure::kForbidden:
    case KvmFailure::kOpen:
    case KvmFailure::kSetUp:
    case KvmFailure::kHung:
      return false;
  }
  return false;
}

// Four lines: key, usable, reason, fix.
std::optional<KvmAnswer> ReadCache(BorrowedFd dir, const std::string& key) {
  auto text = sys::FindFileAt(dir, kCacheName, 8192);
  if (!text || !*text) return std::nullopt;
  auto lines = Split(**text, '\n');
  if (lines.size() != 5 || lines[0] != key || (lines[1] != "yes" && lines[1] != "no"))
    return std::nullopt;
  return KvmAnswer{lines[1] == "yes", lines[2], lines[3]};
}

}  // namespace

KvmAnswer ProbeKvm(BorrowedFd cache_dir, ProbeMode mode, const char* device) {
  if (KvmTrial opened = TryOpenKvm(device); opened.failure != KvmFailure::kNone)
    return AdviseKvm(opened, ReadKvmSurroundings());
  std::string key = CacheKey(device);
  if (mode == ProbeMode::kCached)
    if (auto answer = ReadCache(cache_dir, key)) return *answer;
  KvmTrial trial = TryKvm(device);
  KvmAnswer answer = AdviseKvm(trial, ReadKvmSurroundings());
  // What a busy host or another hypervisor may have caused is asked again next time: the default
  // must not stay weaker than it need be. A cache that cannot be written costs the next run some
  // milliseconds, no more.
  if (Lasts(trial))
    (void)sys::RememberFileAt(
        cache_dir, kCacheName,
        Cat(key, "\n", answer.usable ? "yes" : "no", "\n", answer.reason, "\n", answer.fix, "\n"));
  return answer;
}

Result<Choice> ChooseIsolation(BorrowedFd cache_dir, std::optional<Isolation> asked,
                               std::optional<Isolation> required, const char* device) {
  bool no_vm_asked = asked && *asked != Isolation::kVm;
  // Strongest first: a larger one is a weaker wall.
  if (required && asked && *asked > *required)
    return Error(Code::kInvalidArgument,
                 Cat("--isolation ", Name(*asked), " contradicts --require ", Name(*required)))
        .Remedy("leave one of the two out");
  if (asked == Isolation::kProcess)
    return Choice{Isolation::kProcess,
                  "isolation process: the host's own kernel behind namespaces and filters, no "
                  "machine"};
  if (no_vm_asked) return Choice{Isolation::kVmEmulated, ""};

  auto kvm = ProbeKvm(cache_dir, ProbeMode::kCached, device);
  if (kvm.usable) return Choice{Isolation::kVm, ""};
  if (asked == Isolation::kVm || required == Isolation::kVm)
    return Error(Code::kFailedPrecondition,
                 Cat(asked ? "--isolation vm: " : "--require vm: ", kvm.reason))
        .Remedy(kvm.fix.empty() ? "run: msb doctor" : kvm.fix);
  return Choice{Isolation::kVmEmulated,
                Cat("isolation vm-emulated: ", kvm.reason, " (msb doctor)")};
}

}  // namespace msb::sandbox
