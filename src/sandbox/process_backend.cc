// SPDX-License-Identifier: Apache-2.0
// The machine of isolation `process`: a process sandbox of jail/box around the image's root tree,
// with msb-agent as its first process. The agent is behind every wall before its first instruction,
// like whatever it starts: nothing in there is trusted more than a guest.
//
// It has no kernel of its own, so what a guest's kernel tells of its end is missing: the agent's
// goodbye, its exit and the count of out-of-memory kills of the cgroup have to do.

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <utility>

#include "base/text.h"
#include "base/units.h"
#include "jail/box/box.h"
#include "jail/box/policy.h"
#include "sandbox/backend.h"
#include "sys/file.h"

namespace msb::sandbox {
namespace {

// The agent, and the kernel's own memory for a sandbox: page tables, mounts, sockets.
constexpr uint64_t kOverhead = 16 * kMiB;
// In /dev, which every sandbox has of its own; a read-only bind, so that a program that reaches the
// file through /proc/1/exe cannot change the host's.
constexpr const char* kAgentInside = "/dev/msb-agent";
// Without a cgroup to count them. As a guest's cgroup allows.
constexpr rlim_t kMostProcesses = 16'384;

class ProcessBackend : public Backend {
 public:
  Result<void> Prepare(const MachineSpec& spec) override;
  Result<MachineFacts> Start(MachineDescriptors descriptors) override;
  Result<void> Watch(event::Loop& loop, Watcher& watcher) override;
  void Stop() override {
    if (running_) box::Kill(*running_);
  }
  void Cleanup() override {
    watch_.Cancel();
    running_.reset();
  }

 private:
  void OnEnded();

  MachineSpec spec_;
  std::optional<box::Running> running_;
  event::Loop::Registration watch_;
  Watcher* watcher_ = nullptr;
};

Result<void> ProcessBackend::Prepare(const MachineSpec& spec) {
  if (::access(spec.agent.c_str(), X_OK) != 0)
    return Error::Errno(Cat("find ", spec.agent))
        .Remedy("install microsandbox again (tools/install)");
  spec_ = spec;
  return {};
}

// The root as box is to find it, and as people know it.
struct RootName {
  std::string found, shown;
};

// Root opens the tree itself, by the descriptor that was checked. An ordinary user's sandbox opens
// it from within its own namespace, where only a name leads to it; whoever could put something else
// there has the user's rights already.
Result<RootName> NameOf(const UniqueFd& directory) {
  std::string by_descriptor = Cat("/proc/self/fd/", directory.get());
  std::string name = TRY(sys::ReadLinkAt(sys::Cwd(), by_descriptor));
  return RootName{::geteuid() == 0 ? by_descriptor : name, name};
}

// Names the root as people know it; and what microbox would advise is not msb's to type.
Error Readable(Error error, const RootName& root) {
  std::string message = error.message();
  size_t at = message.find(root.found);
  bool advice = error.remedy().find("--userns") != std::string::npos;
  if (at == std::string::npos && !advice) return error;
  if (at != std::string::npos) message.replace(at, root.found.size(), root.shown);
  std::string remedy =
      advice ? "put MICROSANDBOX_HOME, or the tree of --rootfs, on ext4, xfs, btrfs or tmpfs"
             : error.remedy();
  return Error(error.code(), std::move(message)).Remedy(remedy);
}

// `memory`, `pids`: whether a cgroup limits them; else an rlimit does. `because`: why an ordinary
// user has one id, where that was known before.
MachineFacts Facts(const box::Running& running, bool memory, bool pids,
                   const std::string& because) {
  const box::Facts& facts = running.facts;
  MachineFacts answer{facts.walls, facts.limits, facts.ids, ::geteuid()};
  for (const std::string& why : {because, facts.one_id_because})
    if (!why.empty()) answer.ids += Cat(": ", why);
  if (running.range) answer.uid = running.range->id;
  for (std::string& limit : answer.limits) {
    if (!memory && limit.starts_with("memory:")) limit = "memory: RLIMIT_DATA";
    if (!pids && limit.starts_with("pids:")) limit = "pids: RLIMIT_NPROC";
  }
  return answer;
}

Result<MachineFacts> ProcessBackend::Start(MachineDescriptors descriptors) {
  box::Spec spec;
  spec.root = box::RootKind::kDirectory;
  RootName root = TRY(NameOf(descriptors.root_disk));
  spec.root_directory = root.found;
  spec.storage_bytes = spec_.storage_bytes;
  spec.hostname = spec_.hostname;
  spec.binds = {{.source = spec_.agent, .target = kAgentInside, .writable = false}};
  spec.argv = {kAgentInside, "--sandbox"};
  spec.capabilities = box::kDefaultCapabilities;
  spec.filter = &box::kDefaultFilter;
  spec.command_is_init = true;
  if (spec_.ids.count != 0) spec.these_ids = spec_.ids;
  spec.subordinate_ids = spec_.any_ids;
  int console = descriptors.console.get();
  spec.streams = {descriptors.agent.get(), console, console};
  spec.cgroup = descriptors.cgroup;
  UniqueFd events;
  if (spec.cgroup != nullptr) events = TRY(spec.cgroup->OpenMemoryEvents());
  if (events) {
    spec.keep_fds = {events.get()};
    spec.argv.insert(spec.argv.end(), {"--memory-events", Cat(events.get())});
  }
  bool memory = spec.cgroup != nullptr && spec.cgroup->LimitsMemory();
  bool pids = spec.cgroup != nullptr && spec.cgroup->LimitsPids();
  // Of each program by itself, and of what it can write to alone: many reserve far more address
  // space than they use, which RLIMIT_AS would count.
  if (!memory) spec.limits.push_back({RLIMIT_DATA, {spec_.memory_bytes, spec_.memory_bytes}});
  if (!pids) spec.limits.push_back({RLIMIT_NPROC, {kMostProcesses, kMostProcesses}});
  auto running = box::Start(spec);
  if (!running) {
    Error error = Readable(std::move(running).error(), root);
    if (!spec.these_ids) return error;
    return std::move(error).Remedy("run: msb doctor; its line \"ids\" says what is missing");
  }
  if (running->exec_error) {
    (void)box::Reap(*running);
    return *std::move(running->exec_error);
  }
  running_ = *std::move(running);
  return Facts(*running_, memory, pids, spec_.one_id_because);
}

Result<void> ProcessBackend::Watch(event::Loop& loop, Watcher& watcher) {
  watcher_ = &watcher;
  watch_ =
      TRY(loop.Watch(running_->pidfd, event::Interest::kRead, [this](event::Ready) { OnEnded(); }));
  return {};
}

void ProcessBackend::OnEnded() {
  watch_.Cancel();
  auto exit = box::Reap(*running_);
  MachineEnd end;
  if (!exit)
    end.detail = exit.error().message();
  else if (exit->how == box::Exit::How::kSignaled)
    end.detail = Cat("its agent was killed by signal ", exit->value);
  else if (exit->value != 0)
    end.detail = Cat("its agent exited with code ", exit->value);
  else
    end = {.detail = "its agent ended", .by_guest = true};
  // The last act: the handler may end us.
  watcher_->OnMachineEnded(end);
}

}  // namespace

std::unique_ptr<Backend> MakeProcessBackend() { return std::make_unique<ProcessBackend>(); }

uint64_t ProcessMemoryLimit(uint64_t sandbox_bytes) { return sandbox_bytes + kOverhead; }

}  // namespace msb::sandbox
