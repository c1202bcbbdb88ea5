// SPDX-License-Identifier: Apache-2.0
// The emulated machine: QEMU's microvm under TCG, in the jail. Its makers do not call it a security
// boundary, so it is held like the guest itself: what it says is bounded and escaped.

#include <unistd.h>

#include <cerrno>

#include "base/bytes.h"
#include "base/log.h"
#include "base/text.h"
#include "base/units.h"
#include "jail/jail.h"
#include "sandbox/backend.h"
#include "sandbox/qemu_command.h"
#include "sandbox/qemu_monitor.h"
#include "sys/file.h"
#include "sys/socket.h"

namespace msb::sandbox {
namespace {

// QEMU itself, its translated code, its threads' stacks; measured: 90 to 150 MiB.
constexpr uint64_t kOverhead = 256 * kMiB;
// Address space counts mappings, not memory: each thread has a stack and an arena of malloc's.
constexpr uint64_t kAddressSpaceOverhead = 2 * kGiB;
constexpr uint64_t kAddressSpaceOfCpu = 128 * kMiB;
constexpr size_t kStderrTail = 2048;
constexpr const char* kPrograms[] = {"/usr/bin/qemu-system-x86_64",
                                     "/usr/local/bin/qemu-system-x86_64"};

class QemuBackend : public Backend {
 public:
  explicit QemuBackend(uint64_t tsc_khz) : tsc_khz_(tsc_khz) {}

  Result<void> Prepare(const MachineSpec& spec) override;
  Result<MachineFacts> Start(MachineDescriptors descriptors) override;
  Result<void> Watch(event::Loop& loop, Watcher& watcher) override;
  void Stop() override {
    if (process_) jail::KillJailed(*process_);
  }
  void Cleanup() override {
    stderr_watch_.Cancel();
    exit_watch_.Cancel();
    monitor_.reset();
    process_.reset();
  }

 private:
  void OnEvent(MonitorEvent event) {
    if (event == MonitorEvent::kHostStorageFull) watcher_->OnHostStorageFull();
    if (event == MonitorEvent::kChannelClosed) watcher_->OnGuestChannel(false);
    if (event == MonitorEvent::kChannelOpened) watcher_->OnGuestChannel(true);
  }
  void OnEnded();
  void DrainStderr();
  MachineEnd Describe(const Result<jail::JailExit>& exit) const;

  uint64_t tsc_khz_;
  std::string program_;
  MachineSpec spec_;
  std::optional<jail::JailedProcess> process_;
  std::unique_ptr<QemuMonitor> monitor_;
  UniqueFd monitor_socket_;
  Watcher* watcher_ = nullptr;
  event::Loop::Registration exit_watch_;
  event::Loop::Registration stderr_watch_;
  std::string stderr_tail_;
};

Result<void> CheckReadable(const std::string& what, const std::string& path, size_t least) {
  auto file = sys::OpenAt(sys::Cwd(), path, O_RDONLY);
  if (!file)
    return std::move(file).error().Context(what).Remedy(
        "install the guest's files again (tools/install), or: msb doctor");
  auto info = TRY(sys::Stat(*file));
  if (S_ISREG(info.st_mode) && static_cast<size_t>(info.st_size) >= least) return {};
  return Error(Code::kDataLoss, Cat(what, " ", path, " is not complete"))
      .Remedy("install the guest's files again (tools/install)");
}

Result<void> CheckKernel(const std::string& path) {
  TRY(CheckReadable("guest kernel", path, 1024 * 1024));
  UniqueFd file = TRY(sys::OpenAt(sys::Cwd(), path, O_RDONLY));
  std::byte magic[4];
  TRY(sys::ReadExactlyAt(file, magic, 0));
  if (AsText(magic) == std::string_view("\x7f"
                                        "ELF"))
    return {};
  return Error(Code::kDataLoss, Cat("guest kernel ", path, " is not an ELF file"))
      .Remedy("build it again: guest/kernel/build");
}

Result<void> CheckInitramfs(const std::string& path) {
  TRY(CheckReadable("guest initramfs", path, 4096));
  UniqueFd file = TRY(sys::OpenAt(sys::Cwd(), path, O_RDONLY));
  std::byte magic[6];
  TRY(sys::ReadExactlyAt(file, magic, 0));
  if (AsText(magic) == "070701") return {};
  return Error(Code::kDataLoss, Cat("guest initramfs ", path, " is not a cpio archive"))
      .Remedy("build it again: guest/initramfs/build");
}

Result<void> QemuBackend::Prepare(const MachineSpec& spec) {
  for (const char* candidate : kPrograms)
    if (program_.empty() && ::access(candidate, X_OK) == 0) program_ = candidate;
  if (program_.empty())
    return Error(Code::kFailedPrecondition, "QEMU is not installed, and vm-emulated needs it")
        .Remedy("apt-get install qemu-system-x86");
  TRY(CheckKernel(spec.kernel));
  TRY(CheckInitramfs(spec.initramfs));
  spec_ = spec;
  return {};
}

Result<MachineFacts> QemuBackend::Start(MachineDescriptors descriptors) {
  QemuNumbers numbers;
  auto pair = TRY(sys::MakeSocketPair());
  jail::JailSpec spec;
  spec.name = "qemu";
  spec.program = program_;
  spec.argv = QemuCommand(program_, spec_, numbers, tsc_khz_);
  spec.binds = {{spec_.kernel, kJailKernel, false},
                {spec_.initramfs, kJailInitramfs, false},
                {"/usr/share/qemu", "", false}};
  // Debian builds the translator as a module; QEMU looks for it here, not through the link /lib.
  constexpr const char* kTranslator = "/usr/lib/x86_64-linux-gnu/qemu/accel-tcg-x86_64.so";
  if (::access(kTranslator, R_OK) == 0) spec.binds.push_back({kTranslator, "", false});
  // Debian's firmware folder is half links into this one.
  if (::access("/usr/share/seabios", X_OK) == 0)
    spec.binds.push_back({"/usr/share/seabios", "", false});
  spec.fds = {{descriptors.agent.get(), numbers.agent},
              {descriptors.console.get(), numbers.console},
              {pair.second.get(), numbers.monitor},
              {descriptors.root_disk.get(), numbers.root_disk},
              {descriptors.upper_disk.get(), numbers.upper_disk}};
  spec.limits.memory_bytes =
      spec_.memory_bytes + kAddressSpaceOverhead + spec_.cpus * kAddressSpaceOfCpu;
  // The upper disk is the one file that QEMU may write: taken over, it must not grow it.
  spec.limits.file_size_bytes =
      static_cast<uint64_t>(TRY(sys::Stat(descriptors.upper_disk)).st_size);
  spec.cgroup = descriptors.cgroup;
  process_ = TRY(jail::StartJailed(spec));
  monitor_socket_ = std::move(pair.first);
  const jail::JailFacts& facts = process_->facts;
  return MachineFacts{facts.walls, facts.limits, facts.ids, facts.uid};
}

Result<void> QemuBackend::Watch(event::Loop& loop, Watcher& watcher) {
  watcher_ = &watcher;
  monitor_ = TRY(QemuMonitor::Create(loop, std::move(monitor_socket_),
                                     [this](MonitorEvent event) { OnEvent(event); }));
  stderr_watch_ = TRY(loop.Watch(process_->stderr_pipe, event::Interest::kRead,
                                 [this](event::Ready) { DrainStderr(); }));
  exit_watch_ =
      TRY(loop.Watch(process_->pidfd, event::Interest::kRead, [this](event::Ready) { OnEnded(); }));
  return {};
}

void QemuBackend::DrainStderr() {
  std::byte buffer[4096];
  // Not to the end of what a QEMU that never stops may say: the loop has other work.
  for (int round = 0; round < 16; round++) {
    auto count = sys::ReadSome(process_->stderr_pipe, buffer);
    if (!count && count.error().sys_errno() == EAGAIN) return;
    if (!count || *count == 0) {
      stderr_watch_.Cancel();
      return;
    }
    stderr_tail_ += AsText(std::span(buffer).first(*count));
    if (stderr_tail_.size() > kStderrTail) stderr_tail_.erase(0, stderr_tail_.size() - kStderrTail);
  }
}

void QemuBackend::OnEnded() {
  exit_watch_.Cancel();
  DrainStderr();
  auto exit = jail::ReapJailed(*process_);
  watcher_->OnMachineEnded(Describe(exit));
}

MachineEnd QemuBackend::Describe(const Result<jail::JailExit>& exit) const {
  MachineEnd end;
  if (!exit) {
    end.detail = exit.error().message();
  } else if (exit->how == jail::JailExit::How::kKilledWithJail) {
    end.detail = "QEMU was killed with its jail";
  } else if (exit->how == jail::JailExit::How::kSignaled) {
    end.detail = Cat("QEMU was killed by signal ", exit->value);
  } else if (exit->value == 0) {
    end.by_guest = true;
    end.detail = "the guest reset or powered off without a goodbye";
  } else {
    end.detail = Cat("QEMU exited with code ", exit->value);
  }
  std::string_view said = stderr_tail_;
  while (!said.empty() && said.back() == '\n') said.remove_suffix(1);
  if (!said.empty() && !end.by_guest)
    end.detail +=
        Cat("; it said: ", Escape(said.substr(said.size() > 400 ? said.size() - 400 : 0), 400));
  return end;
}

}  // namespace

std::unique_ptr<Backend> MakeQemuBackend(uint64_t tsc_khz) {
  return std::make_unique<QemuBackend>(tsc_khz);
}

uint64_t QemuMemoryLimit(uint64_t guest_bytes) { return guest_bytes + kOverhead; }

}  // namespace msb::sandbox
