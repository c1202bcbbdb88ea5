// SPDX-License-Identifier: Apache-2.0
// The loop around KVM_RUN.

#include "vmm/machine/vcpu_thread.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>

#include "base/text.h"
#include "sys/process.h"

namespace msb::vmm {
namespace {

constexpr int kKickSignal = SIGUSR1;

}  // namespace

Result<void> VcpuThread::PrepareSignal() {
  struct sigaction action {};
  action.sa_handler = [](int) {};  // Its coming is all: KVM_RUN ends with EINTR.
  if (::sigaction(kKickSignal, &action, nullptr) == -1) return Error::Errno("sigaction");
  return {};
}

VcpuThread::VcpuThread(uint32_t index, Vcpu vcpu, Parts parts)
    : index_(index),
      vcpu_(std::move(vcpu)),
      parts_(std::move(parts)),
      thread_([this] { Main(); }) {}

void VcpuThread::Tell(Order order) {
  {
    std::lock_guard lock(mutex_);
    order_.store(order);
  }
  told_.notify_one();
}

VcpuThread::~VcpuThread() {
  Tell(Order::kStop);
  // immediate_exit ends a KVM_RUN that begins after this, the signal one that has begun; a signal
  // alone may come just before.
  vcpu_.Kick();
  ::pthread_kill(thread_.native_handle(), kKickSignal);
  thread_.join();
}

void VcpuThread::Main() {
  sys::NameThread(Cat("vcpu", index_).c_str());
  if (parts_.on_start) parts_.on_start();
  {
    std::unique_lock lock(mutex_);
    told_.wait(lock, [this] { return order_.load() != Order::kWait; });
  }
  if (auto outcome = RunGuest()) parts_.on_end(*std::move(outcome));
}

std::optional<Outcome> VcpuThread::RunGuest() {
  while (order_.load(std::memory_order_relaxed) == Order::kRun) {
    auto exit = vcpu_.Run();
    if (!exit)
      return Outcome{Outcome::Kind::kKvmError, Cat("CPU ", index_, ": ", exit.error().message())};
    if (auto outcome = Handle(*exit)) return outcome;
  }
  return std::nullopt;
}

std::optional<Outcome> VcpuThread::Handle(const VcpuExit& exit) {
  using Kind = VcpuExit::Kind;
  constexpr auto kOnce = std::memory_order_relaxed;
  switch (exit.kind) {
    case Kind::kInterrupted:
    case Kind::kEndOfInterrupt:
      return std::nullopt;
    case Kind::kMmioRead:
      counts_.device_reads.fetch_add(1, kOnce);
      parts_.addresses->Read(exit.address, exit.data);
      return std::nullopt;
    case Kind::kMmioWrite:
      counts_.device_writes.fetch_add(1, kOnce);
      parts_.addresses->Write(exit.address, exit.data);
      return std::nullopt;
    case Kind::kPortRead:
      counts_.ports.fetch_add(1, kOnce);
      std::fill(exit.data.begin(), exit.data.end(), std::byte{0xff});
      return std::nullopt;
    case Kind::kPortWrite:
      counts_.ports.fetch_add(1, kOnce);
      return std::nullopt;
    case Kind::kShutdown:
      return Outcome{Outcome::Kind::kGuestReset, Cat("triple fault on CPU ", index_)};
    case Kind::kHalted:
      return Outcome{Outcome::Kind::kGuestHalted, Cat("CPU ", index_, " halted for good")};
    case Kind::kSystemEvent:
      if (exit.number == KVM_SYSTEM_EVENT_SHUTDOWN)
        return Outcome{Outcome::Kind::kGuestHalted, "the guest powered off"};
      if (exit.number == KVM_SYSTEM_EVENT_RESET)
        return Outcome{Outcome::Kind::kGuestReset, "the guest reset"};
      return Failed("system event", exit.number);
    case Kind::kFailedEntry:
      return Failed("the processor refused the guest's state: hardware reason", exit.number);
    case Kind::kInternalError:
      return Failed("KVM cannot go on: internal error", exit.number);
    case Kind::kOther:
      return Failed("KVM stopped for an unknown reason: exit", exit.number);
  }
  return Failed("exit", static_cast<uint64_t>(exit.kind));
}

// With the place in the guest's code: the one thing that tells a bug of the guest from ours.
Outcome VcpuThread::Failed(const char* what, uint64_t number) const {
  std::string detail = Cat("CPU ", index_, ": ", what, " ", number);
  if (auto registers = vcpu_.Registers()) detail += Cat(", at ", HexAddress(registers->rip));
  return {Outcome::Kind::kKvmError, std::move(detail)};
}

}  // namespace msb::vmm
