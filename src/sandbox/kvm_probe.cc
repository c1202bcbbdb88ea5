// SPDX-License-Identifier: Apache-2.0
// A guest of one page of code in 64-bit mode. Memory, at guest physical addresses:
//
//   0x0000  code
//   0x1000  page map level 4    -> 0x2000
//   0x2000  page directory ptr  -> 0x3000
//   0x3000  page directory      one 2 MiB page: 0 -> 0
//
// Page table bits: Intel SDM volume 3A, 4.5; segment attributes: KVM API, struct kvm_segment.

#include "sandbox/kvm_probe.h"

#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <vector>

#include "base/bytes.h"
#include "base/fd.h"
#include "sys/file.h"
#include "sys/fork.h"
#include "sys/mapping.h"

namespace msb::sandbox {
namespace {

constexpr size_t kMemory = 0x4000;
constexpr uint64_t kPresentWritable = 3, kLargePage = 1 << 7;
constexpr uint8_t kPort = 0x10;
constexpr uint32_t kRbx = 0x0f0f0f0f, kRcx = 0xffff0000, kAnswer = ~kRbx & kRcx;

// 64-bit mode, BMI1, a loop with a memory access, a port write, halt.
constexpr uint8_t kCode[] = {
    0xc4, 0xe2,  0x60, 0xf2, 0xc1,  // andn eax, ebx, ecx
    0xbf, 0x00,  0x0f, 0x00, 0x00,  // mov edi, 0xf00
    0xb9, 0x10,  0x00, 0x00, 0x00,  // mov ecx, 16
    0x48, 0x89,  0x07,              // 1: mov [rdi], rax
    0x48, 0x8b,  0x07,              // mov rax, [rdi]
    0xff, 0xc9,                     // dec ecx
    0x75, 0xf6,                     // jnz 1b
    0xe7, kPort,                    // out kPort, eax
    0xf4,                           // hlt
};

int Control(BorrowedFd fd, unsigned long request, void* argument) {
  return ::ioctl(fd.get(), request, argument);
}

kvm_segment FlatSegment(uint8_t type, uint16_t selector, bool code) {
  kvm_segment segment{};
  segment.limit = 0xffffffff;
  segment.selector = selector;
  segment.type = type;
  segment.present = 1;
  segment.s = 1;
  segment.g = 1;
  segment.l = code ? 1 : 0;
  segment.db = code ? 0 : 1;
  return segment;
}

bool SetRegisters(BorrowedFd vcpu) {
  kvm_sregs sregs{};
  if (Control(vcpu, KVM_GET_SREGS, &sregs) == -1) return false;
  sregs.cs = FlatSegment(11, 8, true);
  sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = FlatSegment(3, 16, false);
  sregs.cr3 = 0x1000;
  sregs.cr4 = 1 << 5;                                   // PAE.
  sregs.cr0 = (1u << 31) | (1u << 16) | (1u << 5) | 1;  // PG, WP, NE, PE.
  sregs.efer = (1 << 8) | (1 << 10);                    // LME, LMA.
  if (Control(vcpu, KVM_SET_SREGS, &sregs) == -1) return false;
  kvm_regs regs{};
  regs.rbx = kRbx;
  regs.rcx = kRcx;
  regs.rsp = 0xf00;
  regs.rflags = 2;
  return Control(vcpu, KVM_SET_REGS, &regs) != -1;
}

// struct kvm_cpuid2's fixed part. Linux 6.1's header gives the struct a flexible array that costs
// four bytes in C++, and the size is part of the call's number, so the calls are spelled out here.
struct CpuidHeader {
  uint32_t count;
  uint32_t padding;
};
constexpr unsigned long kGetSupportedCpuid = _IOWR(KVMIO, 0x05, CpuidHeader);
constexpr unsigned long kSetCpuid2 = _IOW(KVMIO, 0x90, CpuidHeader);

bool SetCpuid(BorrowedFd kvm, BorrowedFd vcpu) {
  constexpr uint32_t kEntries = 256;
  std::vector<std::byte> buffer(sizeof(CpuidHeader) + kEntries * sizeof(kvm_cpuid_entry2));
  StoreLittle(buffer.data(), CpuidHeader{kEntries, 0});
  return Control(kvm, kGetSupportedCpuid, buffer.data()) != -1 &&
         Control(vcpu, kSetCpuid2, buffer.data()) != -1;
}

void WriteGuest(std::span<std::byte> memory) {
  std::memcpy(memory.data(), kCode, sizeof kCode);
  StoreLittle<uint64_t>(memory.data() + 0x1000, 0x2000 | kPresentWritable);
  StoreLittle<uint64_t>(memory.data() + 0x2000, 0x3000 | kPresentWritable);
  StoreLittle<uint64_t>(memory.data() + 0x3000, kPresentWritable | kLargePage);
}

KvmTrial SetUpFailed() { return {KvmFailure::kSetUp, errno, 0}; }

KvmTrial RunGuest(BorrowedFd vcpu, std::span<const std::byte> shared) {
  if (Control(vcpu, KVM_RUN, nullptr) == -1) return SetUpFailed();
  // SAFETY: the kernel shares struct kvm_run at the start of the vCPU's mapping.
  const auto* run = reinterpret_cast<const kvm_run*>(shared.data());
  if (run->exit_reason != KVM_EXIT_IO || run->io.port != kPort || run->io.size != 4 ||
      run->io.data_offset > shared.size() - 4)
    return {KvmFailure::kCannotRun, 0, run->exit_reason};
  if (LoadLittle<uint32_t>(shared.data() + run->io.data_offset) != kAnswer)
    return {KvmFailure::kCannotRun, 0, run->exit_reason};
  return {};
}

KvmTrial OpenFailed(const Error& error) {
  int why = error.sys_errno();
  auto failure = why == ENOENT || why == ENXIO || why == ENODEV ? KvmFailure::kAbsent
                 : why == EACCES || why == EPERM                ? KvmFailure::kForbidden
                                                                : KvmFailure::kOpen;
  return {failure, why, 0};
}

KvmTrial TryHere(const std::string& device) {
  auto kvm = sys::OpenAt(sys::Cwd(), device, O_RDWR);
  if (!kvm) return OpenFailed(kvm.error());
  if (Control(*kvm, KVM_GET_API_VERSION, nullptr) != KVM_API_VERSION)
    return {KvmFailure::kVersion, errno, 0};
  UniqueFd vm(Control(*kvm, KVM_CREATE_VM, nullptr));
  if (!vm) return SetUpFailed();
  auto memory = sys::MapAnonymous(kMemory, PROT_READ | PROT_WRITE, MAP_SHARED);
  if (!memory) return SetUpFailed();
  WriteGuest(memory->bytes());
  // SAFETY: the kernel takes the address as a number.
  kvm_userspace_memory_region region{0, 0, 0, kMemory,
                                     reinterpret_cast<uint64_t>(memory->bytes().data())};
  if (Control(vm, KVM_SET_USER_MEMORY_REGION, &region) == -1) return SetUpFailed();
  UniqueFd vcpu(Control(vm, KVM_CREATE_VCPU, nullptr));
  if (!vcpu) return SetUpFailed();
  int size = Control(*kvm, KVM_GET_VCPU_MMAP_SIZE, nullptr);
  if (size < static_cast<int>(sizeof(kvm_run))) return SetUpFailed();
  auto shared =
      sys::MapFile(vcpu, static_cast<size_t>(size), 0, PROT_READ | PROT_WRITE, MAP_SHARED);
  if (!shared || !SetCpuid(*kvm, vcpu) || !SetRegisters(vcpu)) return SetUpFailed();
  return RunGuest(vcpu, shared->bytes());
}

}  // namespace

// Failure in the low 3 bits, the exit reason (below 32) above: an exit status has 8.
int EncodeTrial(const KvmTrial& trial) {
  return static_cast<int>(trial.failure) |
         (static_cast<int>(std::min<uint32_t>(trial.exit_reason, 31)) << 3);
}

KvmTrial DecodeTrial(int status) {
  return {static_cast<KvmFailure>(status & 7), 0, static_cast<uint32_t>(status >> 3) & 31};
}

KvmTrial TryOpenKvm(const std::string& device) {
  auto kvm = sys::OpenAt(sys::Cwd(), device, O_RDWR);
  return kvm ? KvmTrial{} : OpenFailed(kvm.error());
}

KvmTrial TryKvm(const std::string& device) {
  auto child = sys::ForkChild([&] { return EncodeTrial(TryHere(device)); });
  if (!child) return {KvmFailure::kSetUp, child.error().sys_errno(), 0};
  auto status = child->Wait(Deadline::After(std::chrono::seconds(2)));
  if (!status) return {KvmFailure::kHung, 0, 0};
  if (status->signaled) return {KvmFailure::kCannotRun, 0, 0};
  return DecodeTrial(status->code);
}

}  // namespace msb::sandbox
