// SPDX-License-Identifier: Apache-2.0
// A child makes the namespace and waits; the helpers of subordinate_ids.h map it from outside.

#include "jail/user_namespace.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <span>

#include "base/text.h"
#include "sys/file.h"
#include "sys/fork.h"
#include "sys/process.h"

namespace msb::jail {
namespace {

constexpr size_t kMaxAnswer = 64 << 10;

// What a child says of itself.
struct Made {
  int pid, error;
};

// The answer's text: what it is, and then, each after a zero byte, the parts of an error.
std::string TextOf(const Result<uint64_t>& answer) {
  constexpr std::string_view kZero("\0", 1);
  if (answer) return Cat("+", *answer);
  const Error& error = answer.error();
  return Cat(static_cast<int>(error.code()), kZero, error.message(), kZero, error.remedy());
}

Result<uint64_t> AnswerOf(std::string_view text) {
  if (text.starts_with('+'))
    if (auto number = ParseNumber<uint64_t>(text.substr(1))) return *number;
  auto parts = Split(text, '\0');
  auto code = ParseNumber<unsigned>(parts[0]);
  if (parts.size() != 3 || !code || *code > static_cast<unsigned>(Code::kInternal))
    return Error(Code::kInternal, "a child in a user namespace ended without an answer");
  return Error(static_cast<Code>(*code), parts[1]).Remedy(parts[2]);
}

Result<void> Enter(BorrowedFd users) {
  if (::setns(users.get(), CLONE_NEWUSER) == -1) return Error::Errno("setns user namespace");
  // The user's other groups are nobody's business inside.
  if (::syscall(SYS_setgroups, 0, nullptr) == -1) return Error::Errno("setgroups");
  return {};
}

}  // namespace

Result<UniqueFd> MakeUserNamespace(const SubordinateIds& ids) {
  uint32_t uid = ::geteuid(), gid = ::getegid();
  sys::Pipe said = TRY(sys::MakePipe());
  auto child = TRY(sys::ForkChild([&] {
    Made made{::getpid(), ::unshare(CLONE_NEWUSER) == 0 ? 0 : errno};
    if (!sys::WriteAll(said.write, std::as_bytes(std::span(&made, 1)))) return 1;
    for (;;) ::pause();  // Until it is killed: the namespace is there as long.
  }));
  said.write.Reset();
  Made made{};
  if (TRY(sys::ReadSome(said.read, std::as_writable_bytes(std::span(&made, 1)))) != sizeof made)
    return Error(Code::kInternal, "a child that made a user namespace has died");
  if (made.error != 0) return Error::Errno("unshare user namespace", made.error);
  TRY(MapSubordinateIds(made.pid, uid, gid, ids));
  return sys::OpenAt(sys::Cwd(), Cat("/proc/", made.pid, "/ns/user"), O_RDONLY);
}

Result<uint64_t> RunInUserNamespace(BorrowedFd users,
                                    const std::function<Result<uint64_t>()>& work) {
  sys::Pipe said = TRY(sys::MakePipe());
  auto child = TRY(sys::ForkChild([&] {
    auto entered = Enter(users);
    std::string text = TextOf(entered ? work() : Result<uint64_t>(std::move(entered).error()));
    return sys::WriteAll(said.write, text.substr(0, kMaxAnswer)) ? 0 : 1;
  }));
  said.write.Reset();
  std::string text = TRY(sys::ReadAll(said.read, kMaxAnswer));
  (void)TRY(child.Wait(Deadline::Never()));
  return AnswerOf(text);
}

}  // namespace msb::jail
