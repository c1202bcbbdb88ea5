// SPDX-License-Identifier: Apache-2.0
// The machine of isolation `vm`: msb-vmm on KVM, in the jail. It opens nothing: the device, kernel,
// initramfs, disks and sockets are open before it starts, and its root is empty.

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "base/bytes.h"
#include "base/text.h"
#include "base/units.h"
#include "jail/jail.h"
#include "jail/policies.h"
#include "sandbox/backend.h"
#include "sandbox/guest_files.h"
#include "sandbox/machine_process.h"
#include "sandbox/vmm_events.h"
#include "sys/file.h"
#include "sys/socket.h"

namespace msb::sandbox {
namespace {

// The VMM's own memory, and the kernel's for it: KVM's shadow structures and the page tables of
// both sides, 1/256 of the guest's memory when all of it is mapped in pages of 4 KiB.
constexpr uint64_t kOverhead = 24 * kMiB;
constexpr uint64_t kTableShare = 128;
// Without a cgroup: address space beside the guest's memory, stacks of the threads included.
constexpr uint64_t kAddressSpaceOverhead = 128 * kMiB;
constexpr uint64_t kAddressSpaceOfCpu = 16 * kMiB;
// Device thread, block worker, the jail's init, and room for the kernel's own count.
constexpr uint32_t kHelperThreads = 8;
constexpr uint32_t kOpenFiles = 96;
// A VMM that was taken over may never stop to speak: the loop has other work.
constexpr int kMessagesARound = 16;
// More than a socket holds (net.core.wmem_max, and some hundred bytes of the kernel's a message).
constexpr int kMostMessages = 4096;

// Where msb-vmm finds what it is given.
struct VmmNumbers {
  int kvm = 3, kernel = 4, initramfs = 5, root = 6, upper = 7, agent = 8, console = 9, control = 10;
};

class VmmBackend : public Backend {
 public:
  explicit VmmBackend(std::string program) : program_(std::move(program)) {}

  Result<void> Prepare(const MachineSpec& spec) override;
  Result<MachineFacts> Start(MachineDescriptors descriptors) override;
  Result<void> Watch(event::Loop& loop, Watcher& watcher) override;
  void Stop() override {
    if (process_) process_->Kill();
  }
  void Cleanup() override {
    control_watch_.Cancel();
    control_.Reset();
    process_.reset();
  }

 private:
  std::vector<std::string> Command(const VmmNumbers& numbers) const;
  // At most `most` of the messages that are there now; false when the VMM has closed.
  bool DrainControl(int most);
  void OnMessage(std::string_view line);

  std::string program_;
  MachineSpec spec_;
  UniqueFd kvm_, kernel_, initramfs_, control_;
  std::optional<MachineProcess> process_;
  Watcher* watcher_ = nullptr;
  event::Loop::Registration control_watch_;
  std::optional<VmmEnd> end_;
  std::string end_detail_;
};

Result<void> VmmBackend::Prepare(const MachineSpec& spec) {
  if (::access(program_.c_str(), X_OK) != 0)
    return Error::Errno(Cat("find ", program_))
        .Remedy("install microsandbox again (tools/install)");
  // The probe's answer is remembered; the device may have been taken away since.
  auto kvm = sys::OpenAt(sys::Cwd(), "/dev/kvm", O_RDWR);
  if (!kvm)
    return std::move(kvm).error().Context("KVM").Remedy(
        "msb doctor tells what has changed; --isolation vm-emulated needs no KVM");
  kvm_ = *std::move(kvm);
  kernel_ = TRY(OpenKernel(spec.kernel));
  initramfs_ = TRY(OpenInitramfs(spec.initramfs));
  spec_ = spec;
  return {};
}

std::vector<std::string> VmmBackend::Command(const VmmNumbers& numbers) const {
  std::vector<std::string> argv{"msb-vmm"};
  auto add = [&](std::string_view flag, auto value) {
    argv.emplace_back(flag);
    argv.push_back(Cat(value));
  };
  add("--cpus", spec_.cpus);
  add("--memory", spec_.memory_bytes);
  add("--kvm", numbers.kvm);
  add("--kernel", numbers.kernel);
  add("--initramfs", numbers.initramfs);
  add("--root", numbers.root);
  add("--upper", numbers.upper);
  add("--agent", numbers.agent);
  add("--console", numbers.console);
  add("--control", numbers.control);
  if (spec_.verbose_console) argv.emplace_back("--verbose-console");
  return argv;
}

Result<MachineFacts> VmmBackend::Start(MachineDescriptors descriptors) {
  VmmNumbers numbers;
  auto control = TRY(sys::MakeSocketPair(SOCK_SEQPACKET));
  TRY(sys::SetNonBlocking(control.first, true));
  jail::JailSpec spec;
  spec.name = "vmm";
  spec.program = program_;
  spec.argv = Command(numbers);
  spec.fds = {{kvm_.get(), numbers.kvm},
              {kernel_.get(), numbers.kernel},
              {initramfs_.get(), numbers.initramfs},
              {descriptors.root_disk.get(), numbers.root},
              {descriptors.upper_disk.get(), numbers.upper},
              {descriptors.agent.get(), numbers.agent},
              {descriptors.console.get(), numbers.console},
              {control.second.get(), numbers.control}};
  spec.filter = &jail::kVmmLoadFilter;
  spec.limits.memory_bytes =
      spec_.memory_bytes + kAddressSpaceOverhead + spec_.cpus * kAddressSpaceOfCpu;
  spec.limits.pids = spec_.cpus + kHelperThreads;
  spec.limits.open_files = kOpenFiles;
  // The upper disk is the one file that the VMM may write: taken over, it must not grow it.
  spec.limits.file_size_bytes =
      static_cast<uint64_t>(TRY(sys::Stat(descriptors.upper_disk)).st_size);
  spec.cgroup = descriptors.cgroup;
  process_.emplace("msb-vmm", TRY(jail::StartJailed(spec)));
  control_ = std::move(control.first);
  kvm_.Reset();
  kernel_.Reset();
  initramfs_.Reset();
  return process_->Facts();
}

Result<void> VmmBackend::Watch(event::Loop& loop, Watcher& watcher) {
  watcher_ = &watcher;
  control_watch_ = TRY(loop.Watch(control_, event::Interest::kRead, [this](event::Ready) {
    if (!DrainControl(kMessagesARound)) control_watch_.Cancel();
  }));
  return process_->Watch(loop, [this](const MachineEnd& process_end) {
    MachineEnd end = process_end;
    // Its last message may still lie in the socket, behind others; nobody adds any.
    (void)DrainControl(kMostMessages);
    control_watch_.Cancel();
    if (end_) {
      end.by_guest =
          end.by_guest && (*end_ == VmmEnd::kGuestReset || *end_ == VmmEnd::kGuestHalted);
      end.detail = Cat(Name(*end_), end_detail_.empty() ? "" : ": ", end_detail_);
    }
    watcher_->OnMachineEnded(end);
  });
}

bool VmmBackend::DrainControl(int most) {
  std::byte line[kVmmLineLimit];
  for (int i = 0; i < most; i++) {
    auto count = sys::ReadSome(control_, line);
    if (!count) return count.error().sys_errno() == EAGAIN;
    if (*count == 0) return false;
    OnMessage(AsText(std::span(line).first(*count)));
  }
  return true;
}

void VmmBackend::OnMessage(std::string_view line) {
  auto event = ParseVmmEvent(line);
  if (!event || end_) return;
  switch (event->kind) {
    case VmmEvent::Kind::kStarted:
      return;
    case VmmEvent::Kind::kChannelOpened:
      return watcher_->OnGuestChannel(true);
    case VmmEvent::Kind::kChannelClosed:
      return watcher_->OnGuestChannel(false);
    case VmmEvent::Kind::kStorageFull:
      return watcher_->OnHostStorageFull();
    case VmmEvent::Kind::kEnd:
      end_ = event->end;
      end_detail_ = Escape(event->detail, kVmmLineLimit);
      return;
  }
}

}  // namespace

std::unique_ptr<Backend> MakeVmmBackend(std::string program) {
  return std::make_unique<VmmBackend>(std::move(program));
}

uint64_t VmmMemoryLimit(uint64_t guest_bytes) {
  return guest_bytes + guest_bytes / kTableShare + kOverhead;
}

}  // namespace msb::sandbox
