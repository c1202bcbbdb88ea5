// SPDX-License-Identifier: Apache-2.0
// The calls to KVM, their errors, and what exits are taken for; KVM itself is a fake.

#include "vmm/kvm/kvm.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>

#include "base/bytes.h"
#include "sys/mapping.h"
#include "vmm/kvm/cpuid_calls.h"
#include "vmm/kvm/test_fake_kvm.h"

namespace msb::vmm {
namespace {

UniqueFd Device() { return *sys::MemFd("kvm"); }

TEST(Kvm, NamesWhatIsNotKvm) {
  FakeKvm calls;
  calls.Fail(KVM_GET_API_VERSION, ENOTTY);
  auto kvm = Kvm::Create(Device(), calls);
  ASSERT_FALSE(kvm);
  EXPECT_NE(kvm.error().message().find("KVM_GET_API_VERSION"), std::string::npos);
  EXPECT_NE(kvm.error().remedy().find("msb doctor"), std::string::npos);
}

TEST(Kvm, RefusesAnotherApi) {
  FakeKvm calls;
  calls.OnCall(KVM_GET_API_VERSION, [](uint64_t) { return 11; });
  auto kvm = Kvm::Create(Device(), calls);
  ASSERT_FALSE(kvm);
  EXPECT_EQ(kvm.error().message(), "KVM has API version 11, not 12");
}

TEST(Kvm, SaysWhichCapabilityIsMissingWhenAMachineCannotBe) {
  FakeKvm calls;
  calls.Fail(KVM_CREATE_VM, ENOMEM);
  calls.OnCall(KVM_CHECK_EXTENSION,
               [](uint64_t what) { return what == KVM_CAP_SPLIT_IRQCHIP ? 0 : 1; });
  auto kvm = Kvm::Create(Device(), calls);
  ASSERT_TRUE(kvm);
  auto vm = kvm->CreateVm();
  ASSERT_FALSE(vm);
  EXPECT_EQ(vm.error().message(),
            "the host's KVM lacks KVM_CAP_SPLIT_IRQCHIP: KVM_CREATE_VM: Cannot allocate memory");
}

TEST(Kvm, AsksForNoCapabilityWhenAllIsWell) {
  FakeKvm calls;
  auto kvm = Kvm::Create(Device(), calls);
  ASSERT_TRUE(kvm);
  ASSERT_TRUE(kvm->CreateVm());
  EXPECT_EQ(calls.Count(KVM_CHECK_EXTENSION), 0u);
}

TEST(Kvm, RefusesASharedAreaThatIsTooSmall) {
  FakeKvm calls;
  calls.OnCall(KVM_GET_VCPU_MMAP_SIZE, [](uint64_t) { return 16; });
  EXPECT_FALSE(Kvm::Create(Device(), calls)->CreateVm());
}

TEST(Kvm, GivesTheHostsCpuid) {
  FakeKvm calls;
  calls.OnCall(kGetSupportedCpuid, [](uint64_t argument) {
    // SAFETY: the caller passed a CpuidTable.
    auto* table = reinterpret_cast<CpuidTable*>(argument);
    EXPECT_EQ(table->header.count, kMaxCpuidEntries);
    table->header.count = 2;
    table->entries[1].function = 7;
    return 0;
  });
  auto entries = Kvm::Create(Device(), calls)->SupportedCpuid();
  ASSERT_TRUE(entries);
  ASSERT_EQ(entries->size(), 2u);
  EXPECT_EQ((*entries)[1].function, 7u);
}

TEST(Vm, KicksMatchAnyWidthAndValue) {
  FakeKvm calls;
  auto vm = Kvm::Create(Device(), calls)->CreateVm();
  ASSERT_TRUE(vm);
  kvm_ioeventfd seen{};
  calls.OnCall(KVM_IOEVENTFD, [&](uint64_t argument) {
    seen = FakeKvm::Load<kvm_ioeventfd>(argument);
    return 0;
  });
  auto eventfd = *sys::EventFd();
  ASSERT_TRUE(vm->BindKick(eventfd, 0xd000'0050));
  EXPECT_EQ(seen.addr, 0xd000'0050u);
  EXPECT_EQ(seen.len, 0u);
  EXPECT_EQ(seen.flags, 0u);
  EXPECT_EQ(seen.fd, eventfd.get());
}

TEST(Vm, MemoryThatCannotBeNamesItsPlace) {
  FakeKvm calls;
  auto vm = Kvm::Create(Device(), calls)->CreateVm();
  ASSERT_TRUE(vm);
  calls.Fail(KVM_SET_USER_MEMORY_REGION, EINVAL);
  auto memory = sys::MapAnonymous(4096, PROT_READ | PROT_WRITE);
  auto set = vm->SetMemory(0, 0x1000, memory->bytes());
  ASSERT_FALSE(set);
  EXPECT_EQ(set.error().message(),
            "guest memory of 4096 bytes at 4096: KVM_SET_USER_MEMORY_REGION: Invalid argument");
}

// A processor whose KVM_RUN leaves in the shared area what the test puts there.
class VcpuTest : public testing::Test {
 protected:
  VcpuTest() {
    calls_.OnCall(KVM_CREATE_VCPU, [this](uint64_t) {
      file_ = *sys::MemFd("vcpu");
      EXPECT_TRUE(sys::Truncate(file_, FakeKvm::kRunSize).ok());
      area_.emplace(*sys::MapFile(file_, FakeKvm::kRunSize, 0, PROT_READ | PROT_WRITE, MAP_SHARED));
      return sys::Duplicate(file_)->Release();
    });
    vm_.emplace(*Kvm::Create(Device(), calls_)->CreateVm());
    vcpu_.emplace(*vm_->CreateVcpu(0));
  }
  // SAFETY: the area is larger than the structure.
  kvm_run& run() { return *reinterpret_cast<kvm_run*>(area_->bytes().data()); }
  VcpuExit Run() {
    auto exit = vcpu_->Run();
    EXPECT_TRUE(exit.ok());
    return exit.ok() ? *exit : VcpuExit{};
  }

  FakeKvm calls_;
  UniqueFd file_;
  std::optional<sys::Mapping> area_;
  std::optional<Vm> vm_;
  std::optional<Vcpu> vcpu_;
};

TEST_F(VcpuTest, AnswersToReadsGoWhereKvmTakesThem) {
  run().exit_reason = KVM_EXIT_MMIO;
  run().mmio.phys_addr = 0xfec0'0010;
  run().mmio.len = 4;
  auto exit = Run();
  EXPECT_EQ(exit.kind, VcpuExit::Kind::kMmioRead);
  EXPECT_EQ(exit.address, 0xfec0'0010u);
  ASSERT_EQ(exit.data.size(), 4u);
  StoreLittle<uint32_t>(exit.data.data(), 0x12345678);
  EXPECT_EQ(run().mmio.data[0], 0x78);
  EXPECT_EQ(run().mmio.data[3], 0x12);
}

TEST_F(VcpuTest, NeverReachesBeyondTheDataOfAnMmioExit) {
  run().exit_reason = KVM_EXIT_MMIO;
  run().mmio.is_write = 1;
  run().mmio.len = 200;
  auto exit = Run();
  EXPECT_EQ(exit.kind, VcpuExit::Kind::kMmioWrite);
  EXPECT_EQ(exit.data.size(), 8u);
}

TEST_F(VcpuTest, PortDataOutsideTheSharedAreaIsNoPortExit) {
  run().exit_reason = KVM_EXIT_IO;
  run().io.size = 4;
  run().io.count = 4;
  run().io.data_offset = FakeKvm::kRunSize - 15;
  EXPECT_EQ(Run().kind, VcpuExit::Kind::kOther);
  run().io.data_offset = ~uint64_t{0};
  EXPECT_EQ(Run().kind, VcpuExit::Kind::kOther);
  run().io.data_offset = FakeKvm::kRunSize - 16;
  auto exit = Run();
  EXPECT_EQ(exit.kind, VcpuExit::Kind::kPortRead);
  EXPECT_EQ(exit.data.size(), 16u);
}

TEST_F(VcpuTest, NamesTheEnds) {
  using Kind = VcpuExit::Kind;
  const std::pair<uint32_t, Kind> kEnds[] = {{KVM_EXIT_HLT, Kind::kHalted},
                                             {KVM_EXIT_SHUTDOWN, Kind::kShutdown},
                                             {KVM_EXIT_SYSTEM_EVENT, Kind::kSystemEvent},
                                             {KVM_EXIT_FAIL_ENTRY, Kind::kFailedEntry},
                                             {KVM_EXIT_INTERNAL_ERROR, Kind::kInternalError},
                                             {KVM_EXIT_INTR, Kind::kInterrupted},
                                             {KVM_EXIT_HYPERCALL, Kind::kOther}};
  for (auto [reason, kind] : kEnds) {
    run().exit_reason = reason;
    EXPECT_EQ(Run().kind, kind) << reason;
  }
}

TEST_F(VcpuTest, ASignalIsNoError) {
  calls_.Fail(KVM_RUN, EINTR);
  EXPECT_EQ(Run().kind, VcpuExit::Kind::kInterrupted);
  calls_.Fail(KVM_RUN, EFAULT);
  EXPECT_FALSE(vcpu_->Run());
}

TEST_F(VcpuTest, AKickIsSeenByKvm) {
  vcpu_->Kick();
  EXPECT_EQ(run().immediate_exit, 1);
  vcpu_->ClearKick();
  EXPECT_EQ(run().immediate_exit, 0);
}

}  // namespace
}  // namespace msb::vmm
