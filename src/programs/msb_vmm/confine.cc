// SPDX-License-Identifier: Apache-2.0
// Filters stack: what the first one kills, a thread's own cannot give back.

#include "programs/msb_vmm/confine.h"

#include <cstdlib>

#include "base/log.h"
#include "jail/policies.h"
#include "sys/seccomp.h"

namespace msb::vmm {
namespace {

// For the calling thread.
Result<void> Install(const jail::Filter& filter) {
  if (sys::RawInstallSeccompFilter(filter.code.data(), filter.length) != 0)
    return Error::Errno("seccomp");
  return {};
}

}  // namespace

Result<void> ConfineStart() {
  TRY(sys::SetNoNewPrivileges());
  return Install(jail::kVmmStartFilter);
}

void ConfineThread(ThreadClass kind) {
  auto installed =
      Install(kind == ThreadClass::kVcpu ? jail::kVmmCpuFilter : jail::kVmmWorkerFilter);
  if (installed) return;
  RawLog("msb-vmm: a thread's seccomp filter was refused\n");
  std::_Exit(1);
}

Result<void> ConfineDeviceThread() { return Install(jail::kVmmDeviceFilter); }

}  // namespace msb::vmm
