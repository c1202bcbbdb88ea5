// SPDX-License-Identifier: Apache-2.0
// The checks of `msb doctor`. Each one does the thing and says what came back.

#include <sched.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "base/text.h"
#include "base/units.h"
#include "jail/id_slot.h"
#include "jail/user_namespace.h"
#include "sandbox/cgroup_check.h"
#include "sandbox/probe.h"
#include "sandbox/sandboxes.h"
#include "sys/file.h"
#include "sys/fork.h"
#include "sys/landlock.h"

namespace msb::sandbox {
namespace {

// The first line of a file of /proc or /sys; empty when it cannot be read.
std::string FirstLine(const std::string& path) {
  auto text = sys::ReadFileAt(sys::Cwd(), path, 64 << 10);
  return text ? Split(*text, '\n')[0] : "";
}

HostCheck CheckKvm(BorrowedFd cache) {
  HostCheck check{.name = "kvm", .tried = "ran a small 64-bit guest on /dev/kvm"};
  auto answer = ProbeKvm(cache, ProbeMode::kFresh);
  if (answer.usable) {
    check.result = "it ran";
    return check;
  }
  check.state = CheckState::kWarning;
  check.result = answer.reason;
  check.cost = "sandboxes run as vm-emulated, slower than on KVM";
  check.fix = answer.fix;
  return check;
}

HostCheck CheckKernel() {
  HostCheck check{.name = "kernel", .tried = "uname"};
  utsname name{};
  ::uname(&name);
  check.result = Cat(name.sysname, " ", name.release, " ", name.machine);
  auto parts = Split(name.release, '.');
  auto major = ParseNumber<int>(parts[0]);
  auto minor = parts.size() > 1 ? ParseNumber<int>(parts[1]) : std::nullopt;
  if (major && minor && (*major < 6 || (*major == 6 && *minor < 1))) {
    check.state = CheckState::kWarning;
    check.cost = "older than 6.1, the oldest kernel that is tested";
    check.fix = "use Linux 6.1 or newer";
  }
  if (std::string_view(name.machine) != "x86_64") {
    check.state = CheckState::kFailed;
    check.cost = "this build runs on x86_64 only";
  }
  return check;
}

HostCheck CheckUserNamespace() {
  HostCheck check{.name = "user namespaces",
                  .tried = "unshare user, mount, pid and net namespaces"};
  auto child = sys::ForkChild([] {
    if (::unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET) == 0) return 0;
    return std::clamp(errno, 1, 126);
  });
  auto status = child ? child->Wait(Deadline::After(std::chrono::seconds(5)))
                      : Result<sys::ExitStatus>(std::move(child).error());
  if (status && !status->signaled && status->code == 0) {
    check.result = "made";
    return check;
  }
  bool root = ::geteuid() == 0;
  check.state = root ? CheckState::kWarning : CheckState::kFailed;
  check.result =
      status ? Error::Errno("unshare", status->code).message() : status.error().message();
  if (root) {
    check.cost = "none for root, which jails QEMU under an id of its own";
    return check;
  }
  check.cost = "an ordinary user cannot jail QEMU, so nothing starts";
  if (FirstLine("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1")
    check.fix =
        "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile "
        "for msb-supervisor that allows userns";
  else if (FirstLine("/proc/sys/kernel/unprivileged_userns_clone") == "0")
    check.fix = "sudo sysctl kernel.unprivileged_userns_clone=1";
  else if (FirstLine("/proc/sys/user/max_user_namespaces") == "0")
    check.fix = "sudo sysctl user.max_user_namespaces=10000";
  else
    check.fix = "run msb outside of this container, or let it make user namespaces";
  return check;
}

HostCheck CheckIds() {
  HostCheck check{.name = "ids", .tried = "mapped those of /etc/subuid and /etc/subgid"};
  if (::geteuid() == 0) {
    check.tried = "looked who runs this";
    check.result = Cat(jail::kIdsOfRange, " for each process sandbox");
    return check;
  }
  auto try_them = []() -> Result<jail::SubordinateSpan> {
    auto ids = TRY(jail::FindSharedIds());
    UniqueFd users = TRY(jail::MakeUserNamespace(ids));
    return ids.span;
  };
  auto span = try_them();
  if (span) {
    check.result = Cat(span->count, " from ", span->first_uid, " on, shared by process sandboxes");
    return check;
  }
  check.state = CheckState::kWarning;
  check.result = Cat("one, your own: ", span.error().message());
  check.cost = "in process sandboxes apt, chown to others and images of several users do not work";
  check.fix = span.error().remedy().empty() ? "run it as root" : span.error().remedy();
  return check;
}

HostCheck CheckSeccomp() {
  HostCheck check{.name = "seccomp", .tried = "read the actions that the kernel offers"};
  std::string actions = FirstLine("/proc/sys/kernel/seccomp/actions_avail");
  if ((" " + actions + " ").find(" kill_process ") != std::string::npos) {
    check.result = "filters work";
    return check;
  }
  check.state = CheckState::kFailed;
  check.result = actions.empty() ? "the kernel has no seccomp filters" : actions;
  check.cost = "no machine can be jailed, so nothing starts";
  check.fix = "use a kernel with CONFIG_SECCOMP_FILTER";
  return check;
}

HostCheck CheckLandlock() {
  HostCheck check{.name = "landlock", .tried = "asked for the ABI version"};
  auto abi = sys::LandlockAbi();
  if (abi) {
    check.result = Cat("ABI ", *abi);
    return check;
  }
  check.state = CheckState::kFailed;
  check.result = abi.error().message();
  check.cost = "the supervisor and QEMU cannot be walled in, so nothing starts";
  check.fix = "boot with lsm=landlock,... on the kernel's command line (CONFIG_SECURITY_LANDLOCK)";
  return check;
}

HostCheck CheckProgram(const std::string& name, const std::string& program,
                       const std::vector<std::string>& directories, const std::string& package,
                       const std::string& cost) {
  HostCheck check{.name = name};
  check.tried = Cat("looked for ", program, " in ", Join(directories, ", "));
  for (const std::string& directory : directories) {
    std::string path = Cat(directory, "/", program);
    if (::access(path.c_str(), X_OK) != 0) continue;
    auto out = sys::MakePipe();
    if (!out) break;
    // Both tools print their version; mke2fs does so on stderr.
    auto child = sys::Spawn({.argv = {path, name == "qemu" ? "--version" : "-V"},
                             .fds = {{out->write.get(), 1}, {out->write.get(), 2}}});
    out->write.Reset();
    if (!child) {
      check.state = CheckState::kFailed;
      check.result = child.error().message();
      check.cost = cost;
      return check;
    }
    auto text = sys::ReadAll(out->read, 16 << 10);
    auto status = child->Wait(Deadline::After(std::chrono::seconds(10)));
    check.result = text ? Split(*text, '\n')[0] : path;
    if (status && !status->signaled && status->code == 0) return check;
    check.state = CheckState::kFailed;
    check.result = Cat(path, " does not run: ", Escape(check.result));
    check.cost = cost;
    check.fix = Cat("sudo apt-get install --reinstall ", package);
    return check;
  }
  check.state = CheckState::kFailed;
  check.result = Cat(program, " is not installed");
  check.cost = cost;
  check.fix = Cat("sudo apt-get install ", package);
  return check;
}

HostCheck CheckParts() {
  HostCheck check{.name = "guest",
                  .tried = "looked for the supervisor, the guest kernel and its initramfs"};
  auto parts = FindParts(Isolation::kVm);
  if (parts) {
    check.result = parts->kernel;
    return check;
  }
  check.state = CheckState::kFailed;
  check.result = parts.error().message();
  check.cost = "no machine can start";
  check.fix = parts.error().remedy();
  return check;
}

HostCheck CheckHome(BorrowedFd home) {
  HostCheck check{.name = "home",
                  .tried = "wrote an unnamed file, locked it, asked for free space"};
  auto fail = [&](const Error& error, std::string cost) {
    check.state = CheckState::kFailed;
    check.result = error.message();
    check.cost = std::move(cost);
    check.fix = "set MICROSANDBOX_HOME to a directory on a local file system";
    return check;
  };
  auto file = sys::UnnamedFile(home);
  if (!file) return fail(file.error(), "no writable disk can be made");
  auto lock = sys::FileLock::TryExclusive(*std::move(file));
  if (!lock) return fail(lock.error(), "what runs and what does not could not be told apart");
  struct statvfs space {};
  if (::fstatvfs(home.get(), &space) == -1) return fail(Error::Errno("fstatvfs"), "");
  uint64_t free_bytes = uint64_t{space.f_bavail} * space.f_frsize;
  check.result = Cat("works, ", FormatSize(free_bytes), " free");
  if (free_bytes < kGiB) {
    check.state = CheckState::kWarning;
    check.cost = "a sandbox may find the host's storage full";
    check.fix = "free some space: msb gc";
  }
  return check;
}

HostCheck CheckMemory() {
  HostCheck check{.name = "memory", .tried = "read MemAvailable"};
  auto text = sys::ReadFileAt(sys::Cwd(), "/proc/meminfo", 64 << 10);
  if (text) {
    for (const std::string& line : Split(*text, '\n')) {
      if (!line.starts_with("MemAvailable:")) continue;
      size_t digit = line.find_first_of("0123456789");
      auto kib = ParseNumber<uint64_t>(
          std::string_view(line).substr(digit, line.find(' ', digit) - digit));
      if (!kib) break;
      check.result = Cat(FormatSize(*kib * kKiB), " available");
      if (*kib * kKiB < 512 * kMiB) {
        check.state = CheckState::kWarning;
        check.cost = "a sandbox of the default size may not fit";
        check.fix = "give less: --memory 256M";
      }
      return check;
    }
  }
  check.state = CheckState::kWarning;
  check.result = "cannot be read";
  return check;
}

}  // namespace

std::vector<HostCheck> CheckHost(BorrowedFd home) {
  std::vector<HostCheck> checks{CheckKernel(), CheckKvm(home)};
  checks.push_back(CheckProgram("qemu", "qemu-system-x86_64", {"/usr/bin", "/usr/local/bin"},
                                "qemu-system-x86", "vm-emulated cannot start"));
  // The default is vm where KVM runs guests (the kvm check is ok then): it needs no QEMU.
  if (checks[1].state == CheckState::kOk && checks.back().state == CheckState::kFailed)
    checks.back().state = CheckState::kWarning;
  checks.push_back(CheckProgram("mke2fs", "mke2fs", {"/usr/sbin", "/sbin"}, "e2fsprogs",
                                "no writable disk can be made"));
  checks.push_back(CheckParts());
  checks.push_back(CheckUserNamespace());
  checks.push_back(CheckIds());
  checks.push_back(CheckSeccomp());
  checks.push_back(CheckLandlock());
  checks.push_back(CheckCgroup());
  checks.push_back(CheckHome(home));
  checks.push_back(CheckMemory());
  return checks;
}

}  // namespace msb::sandbox
