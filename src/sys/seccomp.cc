// SPDX-License-Identifier: Apache-2.0
// seccomp(2) with SECCOMP_SET_MODE_FILTER, and the ioctls of seccomp_unotify(2).

#include "sys/seccomp.h"

#include <linux/seccomp.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/check.h"
#include "base/text.h"

namespace msb::sys {
namespace {

long Install(const sock_filter* program, unsigned short length, unsigned flags) {
  // The kernel only reads the program; its structure predates const.
  sock_fprog described{length, const_cast<sock_filter*>(program)};
  return ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &described);
}

// Linux 5.19; Debian 12's headers have it, older ones do not.
constexpr unsigned kWaitKillable = 1 << 5;  // SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV

Result<void> Answer(BorrowedFd listener, seccomp_notif_resp& answer) {
  if (::ioctl(listener.get(), SECCOMP_IOCTL_NOTIF_SEND, &answer) == -1 && errno != ENOENT)
    return Error::Errno("answer a call");
  return {};
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

int RawInstallSeccompListener(const sock_filter* program, unsigned short length) {
  // Signals that do not kill are held back while a call is being answered: the call would be made,
  // and counted, twice.
  long fd = Install(program, length, SECCOMP_FILTER_FLAG_NEW_LISTENER | kWaitKillable);
  if (fd == -1 && errno == EINVAL) fd = Install(program, length, SECCOMP_FILTER_FLAG_NEW_LISTENER);
  return static_cast<int>(fd);
}

Result<std::optional<AskedCall>> ReceiveAskedCall(BorrowedFd listener) {
  // The kernel refuses a structure that is not zero.
  seccomp_notif asked;
  std::memset(&asked, 0, sizeof asked);
  if (::ioctl(listener.get(), SECCOMP_IOCTL_NOTIF_RECV, &asked) == -1) {
    if (errno == ENOENT || errno == EINTR) return std::optional<AskedCall>();
    return Error::Errno("receive a call");
  }
  AskedCall call{asked.id, static_cast<int>(asked.pid), static_cast<uint32_t>(asked.data.nr), {}};
  std::copy(std::begin(asked.data.args), std::end(asked.data.args), call.arguments.begin());
  return std::optional(call);
}

Result<void> RefuseAskedCall(BorrowedFd listener, uint64_t id, int err) {
  seccomp_notif_resp answer{id, 0, -err, 0};
  return Answer(listener, answer);
}

Result<void> ContinueAskedCall(BorrowedFd listener, uint64_t id) {
  seccomp_notif_resp answer{id, 0, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE};
  return Answer(listener, answer);
}

bool AskedCallWaits(BorrowedFd listener, uint64_t id) {
  return ::ioctl(listener.get(), SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0;
}

Result<void> SetNoNewPrivileges() {
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1) return Error::Errno("prctl no_new_privs");
  return {};
}

}  // namespace msb::sys
