// SPDX-License-Identifier: Apache-2.0
// Reading the account files with care: the image decides what is at their paths.

#include "agent/accounts.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sys/file.h"

namespace msb::agent {
namespace {

bool SameFile(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino && a.st_size == b.st_size &&
         a.st_mtim.tv_sec == b.st_mtim.tv_sec && a.st_mtim.tv_nsec == b.st_mtim.tv_nsec &&
         a.st_ctim.tv_sec == b.st_ctim.tv_sec && a.st_ctim.tv_nsec == b.st_ctim.tv_nsec;
}

}  // namespace

const std::string& Accounts::Read(File& file) {
  // A link is the image's right, and stays within its root; a fifo must not hold us up.
  open_how how{.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
               .mode = 0,
               .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
  UniqueFd fd(static_cast<int>(::syscall(SYS_openat2, root_.get(), file.path, &how, sizeof how)));
  struct stat now {};
  if (!fd || ::fstat(fd.get(), &now) == -1 || !S_ISREG(now.st_mode)) {
    file.text.clear();
    file.seen = {};
    return file.text;
  }
  if (SameFile(now, file.seen)) return file.text;
  file.text.clear();
  auto text = sys::ReadAll(fd, kMaxAccountFile);
  if (text.ok()) file.text = *std::move(text);
  file.seen = now;
  return file.text;
}

Result<Identity> Accounts::Find(const std::string& user) {
  return ResolveIdentity(user, Read(passwd_), Read(group_));
}

}  // namespace msb::agent
