// SPDX-License-Identifier: Apache-2.0
// Locks on bytes of a file that comes and goes.

#include "network/gate.h"

#include <fcntl.h>
#include <poll.h>

#include <cerrno>

#include "base/text.h"
#include "sys/file.h"

namespace msb::network {
namespace {

constexpr uint32_t kUsers = 0, kNumbers = 1;
constexpr int kPauseMs = 1;  // While somebody takes everything away: some milliseconds.
constexpr size_t kLimit = 64 * 1024;

}  // namespace

Result<std::optional<Gate>> Gate::Open(const std::string& directory, int flags) {
  UniqueFd space = TRY(sys::OpenAt(sys::Cwd(), "/proc/self/ns/net", O_RDONLY));
  auto info = TRY(sys::Stat(space));
  std::string name = Cat("network-", info.st_ino);
  UniqueFd dir;
  if ((flags & O_CREAT) != 0) {
    dir = TRY(sys::OpenPrivateDirectory(directory));
  } else {
    auto there = sys::OpenAt(sys::Cwd(), directory, O_PATH | O_DIRECTORY | O_NOFOLLOW);
    if (!there && there.error().code() == Code::kNotFound) return std::optional<Gate>();
    dir = TRY(std::move(there));
  }
  auto file = sys::OpenAt(dir, name, O_RDWR | O_APPEND | O_NOFOLLOW | flags, 0600);
  if (!file && file.error().code() == Code::kNotFound) return std::optional<Gate>();
  return std::optional(Gate(std::move(dir), std::move(name), TRY(std::move(file))));
}

// False: another's lock is in the way.
Result<bool> Gate::Lock(uint32_t byte, short type) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = byte;
  lock.l_len = 1;
  if (::fcntl(file_.get(), F_OFD_SETLK, &lock) == 0) return true;
  if (errno == EAGAIN || errno == EACCES) return false;
  return Error::Errno(Cat("lock ", name_));
}

Result<bool> Gate::HasName() const {
  auto info = TRY(sys::Stat(file_));
  return info.st_nlink > 0;
}

Result<Gate> Gate::Enter(const std::string& directory, Deadline deadline) {
  for (;;) {
    auto gate = TRY(Open(directory, O_CREAT));
    if (TRY(gate->Lock(kUsers, F_RDLCK)) && TRY(gate->HasName())) return std::move(*gate);
    if (deadline.Passed())
      return Error(Code::kDeadlineExceeded, Cat(directory, "/", gate->name_, " is locked"));
    ::poll(nullptr, 0, kPauseMs);
  }
}

Result<std::optional<Gate>> Gate::EnterAbandoned(const std::string& directory) {
  auto gate = TRY(Open(directory, 0));
  if (gate && TRY(gate->Lock(kUsers, F_WRLCK)) && TRY(gate->HasName())) return gate;
  return std::optional<Gate>();
}

Result<bool> Gate::TryNumber(uint32_t number) { return Lock(kNumbers + number, F_WRLCK); }

void Gate::Release(uint32_t number) { (void)Lock(kNumbers + number, F_UNLCK); }

Result<uint32_t> Gate::ClaimNumber(uint32_t first, uint32_t end) {
  for (uint32_t number = first; number < end; number++)
    if (TRY(TryNumber(number))) return number;
  return Error(Code::kResourceExhausted, Cat("all ", end - first, " addresses are in use"))
      .Remedy("stop some sandboxes");
}

// A lock of ours that becomes another kind does so at once, or stays.
Result<bool> Gate::BecomeLast() { return Lock(kUsers, F_WRLCK); }

Result<void> Gate::AddSwitched(const std::string& link) {
  return sys::WriteAll(file_, Cat(link, "\n")).Context(name_);
}

Result<std::vector<std::string>> Gate::Switched() const {
  auto text = TRY(sys::ReadFileAt(dir_, name_, kLimit));
  std::vector<std::string> links;
  for (std::string& line : Split(text, '\n'))
    if (!line.empty()) links.push_back(std::move(line));
  return links;
}

Result<void> Gate::Remove() && { return sys::UnlinkAt(dir_, name_); }

}  // namespace msb::network
