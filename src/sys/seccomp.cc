// SPDX-License-Identifier: Apache-2.0
// seccomp(2) with SECCOMP_SET_MODE_FILTER.

#include "sys/seccomp.h"

#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "base/check.h"
#include "base/text.h"

namespace msb::sys {
namespace {

long Install(const sock_filter* program, unsigned short length, unsigned flags) {
  // The kernel only reads the program; its structure predates const.
  sock_fprog described{length, const_cast<sock_filter*>(program)};
  return ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &described);
}

}  // namespace

Result<void> InstallSeccompFilter(std::span<const sock_filter> program) {
  CHECK(program.size() <= BPF_MAXINSNS);
  long rc = Install(program.data(), static_cast<unsigned short>(program.size()),
                    SECCOMP_FILTER_FLAG_TSYNC);
  if (rc == -1) return Error::Errno("seccomp");
  if (rc > 0)
    return Error(Code::kFailedPrecondition, Cat("seccomp: thread ", rc, " cannot be confined"));
  return {};
}

int RawInstallSeccompFilter(const sock_filter* program, unsigned short length) {
  return static_cast<int>(Install(program, length, 0));
}

Result<void> SetNoNewPrivileges() {
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1) return Error::Errno("prctl no_new_privs");
  return {};
}

}  // namespace msb::sys
