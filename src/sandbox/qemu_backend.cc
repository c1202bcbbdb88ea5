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
#include "jail/policies.h"
#include "sandbox/backend.h"
#include "sandbox/guest_files.h"
#include "sandbox/machine_process.h"
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
constexpr const char* kPrograms[] = {"/usr/bin/qemu-system-x86_64",
                                     "/usr/local/bin/qemu-system-x86_64"};

class QemuBackend : public Backend {
 public:
  explicit QemuBackend(uint64_t tsc_khz) : tsc_khz_(tsc_khz) {}

  Result<void> Prepare(const MachineSpec& spec) override;
  Result<MachineFacts> Start(MachineDescriptors descriptors) override;
  Result<void> Watch(event::Loop& loop, Watcher& watcher) override;
  void Stop() override {
    if (process_) process_->Kill();
  }
  void Cleanup() override {
    monitor_.reset();
    process_.reset();
  }

 private:
  void OnEvent(MonitorEvent event) {
    if (event == MonitorEvent::kHostStorageFull) watcher_->OnHostStorageFull();
    if (event == MonitorEvent::kChannelClosed) watcher_->OnGuestChannel(false);
    if (event == MonitorEvent::kChannelOpened) watcher_->OnGuestChannel(true);
  }

  uint64_t tsc_khz_;
  std::string program_;
  MachineSpec spec_;
  std::optional<MachineProcess> process_;
  std::unique_ptr<QemuMonitor> monitor_;
  UniqueFd monitor_socket_;
  Watcher* watcher_ = nullptr;
};

Result<void> QemuBackend::Prepare(const MachineSpec& spec) {
  for (const char* candidate : kPrograms)
    if (program_.empty() && ::access(candidate, X_OK) == 0) program_ = candidate;
  if (program_.empty())
    return Error(Code::kFailedPrecondition, "QEMU is not installed, and vm-emulated needs it")
        .Remedy("apt-get install qemu-system-x86");
  // Looked at here, bound into the jail by name.
  UniqueFd kernel = TRY(OpenKernel(spec.kernel));
  UniqueFd initramfs = TRY(OpenInitramfs(spec.initramfs));
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
  spec.filter = &jail::kQemuFilter;
  process_.emplace("QEMU", TRY(jail::StartJailed(spec)));
  monitor_socket_ = std::move(pair.first);
  return process_->Facts();
}

Result<void> QemuBackend::Watch(event::Loop& loop, Watcher& watcher) {
  watcher_ = &watcher;
  monitor_ = TRY(QemuMonitor::Create(loop, std::move(monitor_socket_),
                                     [this](MonitorEvent event) { OnEvent(event); }));
  return process_->Watch(loop, [this](const MachineEnd& end) { watcher_->OnMachineEnded(end); });
}

}  // namespace

std::unique_ptr<Backend> MakeQemuBackend(uint64_t tsc_khz) {
  return std::make_unique<QemuBackend>(tsc_khz);
}

uint64_t QemuMemoryLimit(uint64_t guest_bytes) { return guest_bytes + kOverhead; }

}  // namespace msb::sandbox
