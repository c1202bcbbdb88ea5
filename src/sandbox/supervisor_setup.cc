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
#include "sandbox/disk.h"
#include "sandbox/supervisor.h"
#include "sandbox/supervisor_cgroup.h"
#include "sandbox/tsc.h"
#include "sys/process.h"
#include "sys/random.h"
#include "sys/socket.h"

namespace msb::sandbox {
namespace {

constexpr size_t kIdDigits = 12;

int64_t RealtimeNs() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

Result<void> StartMachine(const Handover& handover, UniqueFd root, UniqueFd upper_disk,
                          SupervisorParts& parts) {
  TRY(parts.backend->Prepare({.cpus = parts.spec.cpus,
                              .memory_bytes = parts.spec.memory_bytes,
                              .kernel = handover.kernel,
                              .initramfs = handover.initramfs,
                              .verbose_console = parts.spec.debug_console,
                              .agent = handover.agent,
                              .hostname = HostnameOf(parts.spec, parts.record->id()),
                              .storage_bytes = parts.spec.storage_bytes,
                              .ids = handover.ids,
                              .any_ids = handover.any_ids,
                              .one_id_because = handover.one_id_because}));
  auto agent = TRY(sys::MakeSocketPair());
  auto console = TRY(sys::MakeSocketPair());
  auto facts = TRY(parts.backend->Start({
      .root_disk = std::move(root),
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

std::unique_ptr<Backend> MakeBackend(Isolation isolation, const Handover& handover,
                                     BorrowedFd cache) {
  switch (isolation) {
    case Isolation::kVm:
      return MakeVmmBackend(handover.vmm);
    case Isolation::kVmEmulated:
      return MakeQemuBackend(HostTscKhz(cache));
    case Isolation::kProcess:
      break;
  }
  return MakeProcessBackend();
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
  std::string id = sys::RandomId(kIdDigits);
  // systemd makes the scope while we make record and disk.
  ScopeAsked asked = AskForScope(handover, id);
  parts.record = TRY(Record::Create(input.home, parts.spec, id));
  parts.state.created_unix_ns = RealtimeNs();
  parts.state.supervisor_pid = ::getpid();
  parts.clock.Mark("record");
  UniqueFd cache = TRY(sys::EnsureDirectory(input.home, "cache", 0700));
  UniqueFd upper;
  // The writes of a process sandbox go to a tmpfs of its own: an ext4 image cannot be mounted in a
  // user namespace.
  bool in_memory = parts.spec.isolation == Isolation::kProcess;
  if (!in_memory) {
    upper = TRY(MakeDisk(cache, parts.record->dir(), parts.spec.storage_bytes));
    in_memory = TRY(LiesInMemory(upper).Context("the writable disk"));
    parts.clock.Mark("disk");
  }
  TRY(MakeCgroup(input.home, in_memory, std::move(asked), parts));
  parts.clock.Mark("cgroup");
  parts.backend = MakeBackend(parts.spec.isolation, handover, cache);
  parts.root_lock = std::move(input.root_lock);
  TRY(StartMachine(handover, std::move(input.root), std::move(upper), parts));
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
    Refuse(input.control, error);
    return error;
  }
  input.control.Reset();
  input.home.Reset();
  return (*supervisor)->Run();
}

}  // namespace msb::sandbox
