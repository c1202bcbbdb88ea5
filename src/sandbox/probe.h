// SPDX-License-Identifier: Apache-2.0
// What this host can do: KVM that runs ordinary guests, QEMU, user namespaces, cgroups. Found by
// trying, never by looking at names.

#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "sandbox/spec.h"

namespace msb::sandbox {

enum class CheckState : uint8_t { kOk, kWarning, kFailed };

// One line of `msb doctor`.
struct HostCheck {
  std::string name;  // "kvm", "qemu", "user-namespaces", "cgroup", "landlock", "seccomp", ...
  CheckState state = CheckState::kOk;
  std::string tried;   // What was done.
  std::string result;  // What came back.
  std::string cost;    // What it costs the user; empty when nothing.
  std::string fix;     // What to type; empty when nothing.
};

struct KvmAnswer {
  bool usable = false;
  std::string reason;  // For people, when not: "KVM on this host cannot run ordinary guests".
  std::string fix;
};

// Runs a few dozen bytes of 64-bit guest code that uses a BMI instruction, in a child. The answer
// is kept under `cache_dir` by boot id, identity of the device, uid and groups; kFresh tries again.
// Whether the device can be opened is asked each time: a module that went, or a cgroup that
// forbids it, changes nothing of what the device looks like.
enum class ProbeMode : uint8_t { kCached, kFresh };
inline constexpr const char* kKvmDevice = "/dev/kvm";
KvmAnswer ProbeKvm(BorrowedFd cache_dir, ProbeMode mode = ProbeMode::kCached,
                   const char* device = kKvmDevice);

// The strongest level the host can give, or the one asked for. `note` is the line for stderr when
// it is not `vm`. Never kProcess unless asked for.
struct Choice {
  Isolation isolation = Isolation::kVm;
  std::string note;
};
Result<Choice> ChooseIsolation(BorrowedFd cache_dir, std::optional<Isolation> asked,
                               std::optional<Isolation> required, const char* device = kKvmDevice);

// Everything, for `msb doctor`.
std::vector<HostCheck> CheckHost(BorrowedFd home);

}  // namespace msb::sandbox
