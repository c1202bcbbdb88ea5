// SPDX-License-Identifier: Apache-2.0
// The steps of a start, each timed, in the order in which they can be undone.

#include "sandbox/supervisor_setup.h"

#include <fcntl.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"
#include "jail/confine.h"
#include "protocol/frame.h"
#include "protocol/messages.h"
#include "sandbox/cgroup_name.h"
#include "sandbox/disk.h"
#include "sandbox/supervisor.h"
#include "sandbox/tsc.h"
#include "sys/process.h"
#include "sys/random.h"
#include "sys/socket.h"

namespace msb::sandbox {
namespace {

constexpr size_t kIdDigits = 12;
// QEMU's own threads beside the guest's processors: init, main loop, RCU, and up to 64 for disk
// requests (util/thread-pool.c); QEMU ends when it cannot make one.
constexpr uint32_t kHelperCpuMilli = 500;
constexpr uint32_t kMachinePids = 96;

int64_t RealtimeNs() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

// What the host does not let us set is named in the record, and told by the client.
Result<void> CheckRequired(const SupervisorParts& parts) {
  if (!parts.spec.require_limits || parts.state.missing_limits.empty()) return {};
  return Error(Code::kFailedPrecondition,
               Cat("--require-limits: ", Join(parts.state.missing_limits, "; ")))
      .Remedy("leave out --require-limits, or give a delegated cgroup: --cgroup DIR");
}

uint64_t MemoryLimit(const SandboxSpec& spec) {
  return spec.isolation == Isolation::kVm ? VmmMemoryLimit(spec.memory_bytes)
                                          : QemuMemoryLimit(spec.memory_bytes);
}

// The limits that the machine's cgroup sets.
Result<void> MakeCgroup(BorrowedFd home, SupervisorParts& parts) {
  auto make = [&]() -> Result<void> {
    parts.cgroup_host = TRY(sys::CgroupHost::Find(parts.spec.cgroup));
    parts.cgroup = TRY(sys::Cgroup::Create(*parts.cgroup_host, CgroupName(home, parts.record->id()),
                                           {.memory_bytes = MemoryLimit(parts.spec),
                                            .cpu_milli = parts.spec.cpus * 1000 + kHelperCpuMilli,
                                            .pids = kMachinePids + parts.spec.cpus}));
    return {};
  };
  auto made = make();
  if (made) {
    parts.state.missing_limits = parts.cgroup->missing();
    parts.state.cgroups = parts.cgroup->Paths();
    return CheckRequired(parts);
  }
  parts.cgroup_host.reset();
  // A cgroup that was given and does not work is an error, not a reason to look further.
  if (!parts.spec.cgroup.empty())
    return std::move(made).error().Context(Cat("--cgroup ", Escape(parts.spec.cgroup, 200)));
  parts.state.missing_limits = {
      Cat("memory, cpu and pids, and the caller's cgroup not left: ", made.error().message())};
  return CheckRequired(parts);
}

// A caller's cgroup may be ended or removed as a whole, and a sandbox must outlive that. After the
// machine's start, because the move takes up to 14 ms, in which the guest boots.
Result<void> LeaveCaller(SupervisorParts& parts) {
  if (!parts.cgroup_host) return {};
  auto left = sys::LeaveCallersCgroup(*parts.cgroup_host);
  if (left) return {};
  if (!parts.spec.cgroup.empty())
    return std::move(left).error().Context(Cat("--cgroup ", Escape(parts.spec.cgroup, 200)));
  parts.state.missing_limits.push_back(
      Cat("the supervisor stays in its caller's cgroup: ", left.error().message()));
  return CheckRequired(parts);
}

Result<void> StartMachine(const Handover& handover, UniqueFd root_disk, UniqueFd upper_disk,
                          SupervisorParts& parts) {
  TRY(parts.backend->Prepare({.cpus = parts.spec.cpus,
                              .memory_bytes = parts.spec.memory_bytes,
                              .kernel = handover.kernel,
                              .initramfs = handover.initramfs,
                              .verbose_console = parts.spec.debug_console}));
  auto agent = TRY(sys::MakeSocketPair());
  auto console = TRY(sys::MakeSocketPair());
  auto facts = TRY(parts.backend->Start({
      .root_disk = std::move(root_disk),
      .upper_disk = std::move(upper_disk),
      .agent = std::move(agent.second),
      .console = std::move(console.second),
      .cgroup = parts.cgroup ? &*parts.cgroup : nullptr,
  }));
  parts.agent = std::move(agent.first);
  parts.console = std::move(console.first);
  parts.state.walls = facts.walls;
  parts.state.limits = facts.limits;
  parts.state.ids = facts.ids;
  parts.state.machine_uid = facts.uid;
  return {};
}

Result<void> Confine(SupervisorParts& parts) {
  // Confinement is for good, so the console of an attached sandbox keeps our stderr; a detached one
  // must not hold its starter's.
  if (parts.spec.lifetime == Lifetime::kDetached && !parts.spec.debug_console) {
    UniqueFd null = TRY(sys::OpenAt(sys::Cwd(), "/dev/null", O_RDWR));
    if (::dup2(null.get(), STDERR_FILENO) == -1) return Error::Errno("dup2 stderr");
  }
  jail::SupervisorConfinement wanted;
  wanted.record_dir = parts.record->dir().get();
  wanted.records_dir = parts.record->sandboxes().get();
  wanted.names_dir = parts.record->names().get();
  if (parts.cgroup) wanted.cgroups.push_back(&*parts.cgroup);
  auto facts = TRY(jail::ConfineSupervisor(wanted));
  parts.state.supervisor_walls = facts.walls;
  return {};
}

// Undone by its destructor until Keep(): what a failed start leaves is nothing.
class Undo {
 public:
  explicit Undo(SupervisorParts& parts) : parts_(parts) {}
  ~Undo() {
    if (kept_) return;
    if (parts_.backend) {
      parts_.backend->Stop();
      parts_.backend->Cleanup();
    }
    if (parts_.cgroup) {
      (void)parts_.cgroup->Kill();
      (void)parts_.cgroup->Remove();
    }
    if (parts_.record) (void)parts_.record->Remove();
  }
  void Keep() { kept_ = true; }

 private:
  SupervisorParts& parts_;
  bool kept_ = false;
};

Result<std::unique_ptr<Supervisor>> SetUp(event::Loop& loop, SupervisorInput& input) {
  const Handover& handover = input.handover;
  SupervisorParts parts;
  Undo undo(parts);
  parts.clock = StartClock(handover.started_ns);
  parts.clock.Mark("spec");
  parts.spec = handover.spec;
  parts.boot_deadline = std::chrono::milliseconds(handover.boot_deadline_ms);
  TRY(CheckSpec(parts.spec));
  parts.record = TRY(Record::Create(input.home, parts.spec, sys::RandomId(kIdDigits)));
  parts.state.created_unix_ns = RealtimeNs();
  parts.state.supervisor_pid = ::getpid();
  parts.clock.Mark("record");
  UniqueFd cache = TRY(sys::EnsureDirectory(input.home, "cache", 0700));
  UniqueFd upper = TRY(MakeDisk(cache, parts.record->dir(), parts.spec.storage_bytes));
  parts.clock.Mark("disk");
  TRY(MakeCgroup(input.home, parts));
  parts.clock.Mark("cgroup");
  parts.backend = parts.spec.isolation == Isolation::kVm ? MakeVmmBackend(handover.vmm)
                                                         : MakeQemuBackend(HostTscKhz(cache));
  TRY(StartMachine(handover, std::move(input.root_disk), std::move(upper), parts));
  parts.clock.Mark("machine started");
  TRY(LeaveCaller(parts));
  parts.listener = TRY(sys::ListenAt(parts.record->dir(), kControlSocket));
  constexpr int kSignals[] = {SIGTERM, SIGINT, SIGHUP};
  parts.signals = TRY(sys::SignalFd(kSignals));
  parts.control = TRY(sys::Duplicate(input.control));
  TRY(Confine(parts));
  parts.clock.Mark("confined");
  auto supervisor = TRY(Supervisor::Create(loop, parts));
  undo.Keep();
  return supervisor;
}

// The client learns why, as it would on any connection.
void Tell(BorrowedFd control, const Error& error) {
  std::vector<std::byte> out;
  protocol::AppendFrame(out, {.type = protocol::Type::kHello}, Encode(protocol::Hello{}));
  protocol::AppendFrame(out, {.type = protocol::Type::kError}, Encode(protocol::ToBody(error)));
  // A client that has gone needs no answer.
  (void)sys::SendSome(control, out);
}

}  // namespace

Result<void> RunSupervisor(SupervisorInput input) {
  auto loop = TRY(event::Loop::Create());
  auto supervisor = SetUp(*loop, input);
  if (!supervisor) {
    Error error = std::move(supervisor).error();
    int why = error.sys_errno();
    if (why == ENOSPC || why == EDQUOT)
      error =
          std::move(error)
              .Context("host storage full")
              .Remedy("free some space (msb gc), or set MICROSANDBOX_HOME to a larger file system");
    Tell(input.control, error);
    return error;
  }
  input.control.Reset();
  input.home.Reset();
  return (*supervisor)->Run();
}

}  // namespace msb::sandbox
