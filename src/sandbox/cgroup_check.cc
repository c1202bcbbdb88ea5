// SPDX-License-Identifier: Apache-2.0
// The cgroup line of `msb doctor`.

#include "sandbox/cgroup_check.h"

#include <unistd.h>

#include <chrono>

#include "base/text.h"
#include "base/units.h"
#include "sandbox/cgroup_name.h"
#include "sys/cgroup.h"
#include "sys/file.h"
#include "sys/fork.h"
#include "sys/process.h"
#include "sys/random.h"
#include "sys/systemd_scope.h"

namespace msb::sandbox {
namespace {

constexpr sys::CgroupLimits kLimits{.memory_bytes = 64 * kMiB, .cpu_milli = 1000, .pids = 32};
constexpr auto kPatience = std::chrono::seconds(10);

Result<std::string> Try(const sys::CgroupHost& host, const std::string& name) {
  auto cgroup = TRY(sys::Cgroup::Create(host, name, kLimits));
  auto missing = cgroup.missing();
  bool v1 = cgroup.has_v1();
  TRY(cgroup.Remove());
  if (!missing.empty()) return Error(Code::kFailedPrecondition, Join(missing, "; "));
  return std::string(v1 ? "made, version 1" : "made, version 2");
}

// Moves this process for good.
Result<std::string> TryInScope(const std::string& id) {
  TRY(sys::CheckScopesWork());
  auto request = TRY(sys::ScopeRequest::Send(
      ScopeName(id), "microsandbox doctor",
      sys::ManagerSockets(::geteuid(), sys::GetEnv("XDG_RUNTIME_DIR").value_or(""),
                          sys::GetEnv("DBUS_SESSION_BUS_ADDRESS").value_or("")),
      Deadline::After(kPatience)));
  TRY(request.Await());
  auto host = TRY(sys::CgroupHost::OfScope(request.unit()));
  TRY(sys::LeaveCallersCgroup(host));
  return Cat(TRY(Try(host, std::string(kMachineOfScope))), ", in a scope of ",
             ::geteuid() == 0 ? "the system's" : "the user's", " manager");
}

// In a child, which ends in the scope, and the scope with it. It says "what came back", or
// "message", zero, "remedy".
Result<std::string> InScope() {
  auto pipe = TRY(sys::MakePipe());
  auto child = TRY(sys::ForkChild([&] {
    auto made = TryInScope(Cat("doctor-", sys::RandomId(8)));
    std::string said = made ? *made : Cat(made.error().message(), '\0', made.error().remedy());
    return sys::WriteAll(pipe.write, said).ok() && made ? 0 : 1;
  }));
  pipe.write.Reset();
  auto status = TRY(child.Wait(Deadline::After(2 * kPatience)));
  std::string said = TRY(sys::ReadAll(pipe.read, 64 << 10));
  if (status == sys::ExitStatus{false, 0}) return said;
  size_t zero = said.find('\0');
  if (zero == std::string::npos) return Error(Code::kInternal, "the trial ended without an answer");
  return Error(Code::kFailedPrecondition, said.substr(0, zero)).Remedy(said.substr(zero + 1));
}

Result<std::string> InPlainTree() {
  return Try(TRY(sys::CgroupHost::Find("")), Cat("doctor-", sys::RandomId(8)));
}

}  // namespace

HostCheck CheckCgroup() {
  HostCheck check{.name = "cgroup", .tried = "made a cgroup with limits for memory, cpu and pids"};
  auto made = sys::SystemdOwnsCgroups() ? InScope() : InPlainTree();
  if (made) {
    check.result = *std::move(made);
    return check;
  }
  const Error& error = made.error();
  check.state = CheckState::kWarning;
  check.result = error.message();
  check.cost =
      "limits are rlimits: memory is bounded, cpu and pids are not; --require-limits refuses";
  check.fix = error.remedy().empty() ? "give a delegated cgroup, or run as root" : error.remedy();
  return check;
}

}  // namespace msb::sandbox
