// SPDX-License-Identifier: Apache-2.0
// One function a check.

#include "jail/box/host_check.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <functional>
#include <optional>

#include "base/text.h"
#include "jail/box/box.h"
#include "jail/box/call_policy.h"
#include "jail/box/policy.h"
#include "jail/namespace_remedy.h"
#include "sys/file.h"
#include "sys/fork.h"
#include "sys/landlock.h"
#include "sys/mount.h"

namespace msb::box {
namespace {

using State = HostCheck::State;

constexpr const char* kOneIdCost =
    "apt, chown to others and images of several users do not work inside";
constexpr auto kTryFor = std::chrono::seconds(10);

struct Namespace {
  const char* name;
  int flag;
};
constexpr Namespace kNamespaces[] = {{"mount", CLONE_NEWNS},    {"pid", CLONE_NEWPID},
                                     {"network", CLONE_NEWNET}, {"ipc", CLONE_NEWIPC},
                                     {"uts", CLONE_NEWUTS},     {"cgroup", CLONE_NEWCGROUP},
                                     {"time", CLONE_NEWTIME}};

std::string Words(int err) { return std::string(::strerrordesc_np(err)); }

// The errno that `body` exits with; nullopt when it could not be tried.
std::optional<int> InChild(const std::function<int()>& body) {
  auto child = sys::ForkChild(body);
  if (!child) return std::nullopt;
  auto status = child->Wait(Deadline::After(kTryFor));
  if (!status || status->signaled) return std::nullopt;
  return status->code;
}

// What a run says of the namespaces that it cannot have.
void Refused(HostCheck& check, int err) {
  check.state = State::kFailed;
  check.cost = "no sandbox starts";
  check.fix = jail::NamespaceRemedy(err, true);
}

HostCheck CheckUsers() {
  HostCheck check{.name = "user namespaces", .tried = "made one in a child"};
  auto err = InChild([] { return ::unshare(CLONE_NEWUSER) == 0 ? 0 : errno; });
  check.result = !err ? "could not be tried" : *err == 0 ? "can be made" : Words(*err);
  if (!err || *err != 0) Refused(check, err.value_or(0));
  return check;
}

HostCheck CheckNamespaces() {
  HostCheck check{.name = "namespaces", .tried = "made each in a user namespace of its own"};
  std::string made;
  for (const Namespace& one : kNamespaces) {
    auto err = InChild([&] { return ::unshare(CLONE_NEWUSER | one.flag) == 0 ? 0 : errno; });
    if (err && *err == 0) {
      made += Cat(made.empty() ? "" : ", ", one.name);
      continue;
    }
    check.result += Cat(check.result.empty() ? "" : "; ", one.name, ": ",
                        err ? Words(*err) : "could not be tried");
    if (check.state == State::kOk) Refused(check, err.value_or(0));
  }
  if (check.state == State::kOk) check.result = made;
  return check;
}

// Starts a sandbox whose command is not there: its init then has built it as a whole, and the
// command's process has taken every wall upon itself.
HostCheck TrySandbox(HostCheck check, Spec spec, Facts* facts = nullptr) {
  spec.hostname = "doctor";
  spec.argv = {"/there-is-no-command"};
  spec.capabilities = kDefaultCapabilities;
  if (spec.filter == nullptr) spec.filter = &kDefaultFilter;
  auto began = std::chrono::steady_clock::now();
  auto running = Start(spec);
  if (running) {
    (void)Reap(*running);
    if (facts != nullptr) *facts = running->facts;
    auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(
        std::chrono::steady_clock::now() - began);
    check.result = Cat("started in ", ms.count(), " ms");
    return check;
  }
  check.state = check.cost == "no sandbox starts" ? State::kFailed : State::kLess;
  check.result = running.error().message();
  check.fix = running.error().remedy();
  return check;
}

HostCheck CheckSandbox() {
  return TrySandbox({.name = "sandbox",
                     .tried = "started one with all walls and an empty root",
                     .cost = "no sandbox starts"},
                    {});
}

HostCheck CheckDirectory() {
  Spec spec;
  spec.root = RootKind::kDirectory;
  spec.root_directory = "/usr";
  return TrySandbox({.name = "root from a directory",
                     .tried = "started one with an overlay on /usr",
                     .cost = "--fs DIR is refused for directories like this one"},
                    spec);
}

HostCheck CheckAsking() {
  HostCheck check{.name = "refused calls shown",
                  .tried = "started one whose seccomp filter asks",
                  .cost = "--log-denied and --learn are refused"};
  auto policy = CallPolicy::Create({});
  auto code = policy ? policy->Compile(OnRefusal::kAsk) : std::move(policy).error();
  if (!code) {
    check.state = State::kLess;
    check.result = code.error().message();
    return check;
  }
  Spec spec;
  jail::Filter filter = code->View();
  spec.filter = &filter;
  spec.on_refusal = OnRefusal::kAsk;
  return TrySandbox(std::move(check), spec);
}

HostCheck CheckLandlock() {
  HostCheck check{.name = "landlock", .tried = "asked for its version"};
  auto abi = sys::LandlockAbi();
  if (abi) {
    check.result = Cat("ABI ", *abi);
    return check;
  }
  check.state = State::kFailed;
  check.result = abi.error().message();
  check.cost = "no sandbox starts: it is one of the walls";
  check.fix = abi.error().remedy();
  return check;
}

// In a user namespace of one id: an attribute of a user's on a tmpfs, which overlay keeps its marks
// in there.
int SetUserAttribute() {
  auto uid = ::geteuid(), gid = ::getegid();
  if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) == -1) return errno;
  auto write = [](const char* path, std::string_view text) {
    auto file = sys::OpenAt(sys::Cwd(), path, O_WRONLY);
    return file && sys::WriteAll(*file, text);
  };
  if (!write("/proc/self/setgroups", "deny") ||
      !write("/proc/self/uid_map", Cat("0 ", uid, " 1")) ||
      !write("/proc/self/gid_map", Cat("0 ", gid, " 1")))
    return EPERM;
  int memory = sys::RawNewTmpfs("64k", sys::kMountNoSetuid);
  if (memory == -1) return errno;
  auto file = sys::OpenAt(BorrowedFd::Raw(memory), "file", O_CREAT | O_RDWR, 0600);
  if (!file) return file.error().sys_errno();
  return ::fsetxattr(file->get(), "user.overlay.opaque", "y", 1, 0) == 0 ? 0 : errno;
}

HostCheck CheckAttributes() {
  HostCheck check{.name = "overlay marks", .tried = "set an attribute of a user's on a tmpfs"};
  auto err = InChild(SetUserAttribute);
  check.result = !err ? "could not be tried" : *err == 0 ? "kept" : Words(*err);
  if (err && *err == 0) return check;
  check.state = State::kLess;
  check.cost = "a directory of --fs DIR that is removed and made again shows its old files";
  check.fix = "Linux 6.6";
  return check;
}

HostCheck CheckIds() {
  if (::geteuid() == 0)
    return {.name = "ids",
            .tried = "looked who runs this",
            .result = Cat(jail::kIdsOfRange, " for each sandbox")};
  Spec spec;
  spec.subordinate_ids = true;
  Facts facts;
  HostCheck check = TrySandbox({.name = "ids",
                                .tried = "started one with the ids of /etc/subuid and /etc/subgid",
                                .cost = kOneIdCost},
                               spec, &facts);
  if (check.state != State::kOk) return check;
  check.result = facts.ids;
  if (facts.one_id_because.empty()) return check;
  check.state = State::kLess;
  check.result = Cat("one, your own: ", facts.one_id_because);
  check.fix = facts.more_ids_remedy.empty() ? "run it as root" : facts.more_ids_remedy;
  return check;
}

HostCheck CheckLabel() {
  std::string label = SecurityLabel(::getpid());
  return {.name = "security label",
          .tried = "read that of this process, which a sandbox keeps",
          .result = label.empty() ? "none: no module that labels is in force" : label};
}

}  // namespace

std::string_view StateName(State state) {
  switch (state) {
    case State::kOk:
      return "ok";
    case State::kLess:
      return "less";
    case State::kFailed:
      return "failed";
  }
  return "failed";
}

std::string SecurityLabel(int pid) {
  auto label = sys::ReadFileAt(sys::Cwd(), Cat("/proc/", pid, "/attr/current"), 4096);
  if (!label) return "";
  // AppArmor ends it with a newline, SELinux with a zero.
  while (!label->empty() && (label->back() == '\n' || label->back() == '\0')) label->pop_back();
  return Escape(*label, 256);
}

std::vector<HostCheck> CheckHost() {
  std::vector<HostCheck> checks;
  for (HostCheck (*check)() : {CheckUsers, CheckNamespaces, CheckLandlock, CheckSandbox,
                               CheckDirectory, CheckAttributes, CheckAsking, CheckIds, CheckLabel})
    checks.push_back(check());
  // Where everything was as it should be, nothing costs anything.
  for (HostCheck& check : checks)
    if (check.state == State::kOk) check.cost.clear();
  return checks;
}

}  // namespace msb::box
