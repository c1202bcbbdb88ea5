// SPDX-License-Identifier: Apache-2.0
// Open-file-description locks (fcntl(2)) on ranges of an empty file.

#include "jail/subordinate_locks.h"

#include <fcntl.h>

#include <cerrno>

#include "base/text.h"
#include "sys/file.h"

namespace msb::jail {
namespace {

constexpr const char* kFile = "ids";
// Users' bytes come first, 2^32 of them.
constexpr off_t kGroupsAt = off_t{1} << 32;

}  // namespace

Result<SubordinateLocks> SubordinateLocks::Open(const std::string& directory, Missing missing) {
  if (!directory.starts_with('/')) return Error(Code::kNotFound, "no directory for locks");
  if (missing == Missing::kFail)
    return SubordinateLocks(
        TRY(sys::OpenAt(sys::Cwd(), Cat(directory, "/", kFile), O_RDWR | O_NOFOLLOW)));
  UniqueFd dir = TRY(sys::OpenPrivateDirectory(directory));
  return SubordinateLocks(
      TRY(sys::OpenAt(dir, kFile, O_RDWR | O_CREAT | O_NOFOLLOW, 0600).Context(directory)));
}

Result<bool> SubordinateLocks::Take(Kind kind, uint32_t first, uint32_t count, Use use) {
  struct flock lock {};
  lock.l_type = use == Use::kOwn ? F_WRLCK : F_RDLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = (kind == Kind::kGroups ? kGroupsAt : 0) + off_t{first};
  lock.l_len = off_t{count};
  if (::fcntl(file_.get(), F_OFD_SETLK, &lock) == 0) return true;
  if (errno == EAGAIN || errno == EACCES) return false;
  return Error::Errno("lock subordinate ids");
}

Result<void> SubordinateLocks::LetGo() {
  struct flock all {};
  all.l_type = F_UNLCK;
  all.l_whence = SEEK_SET;
  if (::fcntl(file_.get(), F_OFD_SETLK, &all) == -1) return Error::Errno("unlock subordinate ids");
  return {};
}

}  // namespace msb::jail
