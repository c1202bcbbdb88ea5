// SPDX-License-Identifier: Apache-2.0
// The calls to KVM, their errors, and what exits are taken for; KVM itself is a fake.

#include "vmm/kvm/kvm.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <functional>

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
    calls_.OnRun([this](uint32_t, kvm_run& shared) {
      run_ = &shared;
      if (prepare_) prepare_(shared);
      return 0;
    });
  }
  VcpuExit Run(std::function<void(kvm_run&)> prepare) {
    prepare_ = std::move(prepare);
    auto exit = vcpu_.Run();
    EXPECT_TRUE(exit.ok());
    return exit.ok() ? *exit : VcpuExit{};
  }

  FakeKvm calls_;
  std::function<void(kvm_run&)> prepare_;
  kvm_run* run_ = nullptr;
  Vm vm_ = *Kvm::Create(Device(), calls_)->CreateVm();
  Vcpu vcpu_ = *vm_.CreateVcpu(0);
};

TEST_F(VcpuTest, AnswersToReadsGoWhereKvmTakesThem) {
  auto exit = Run([](kvm_run& run) {
    run.exit_reason = KVM_EXIT_MMIO;
    run.mmio.phys_addr = 0xfec0'0010;
    run.mmio.len = 4;
  });
  EXPECT_EQ(exit.kind, VcpuExit::Kind::kMmioRead);
  EXPECT_EQ(exit.address, 0xfec0'0010u);
  ASSERT_EQ(exit.data.size(), 4u);
  StoreLittle<uint32_t>(exit.data.data(), 0x12345678);
  EXPECT_EQ(run_->mmio.data[0], 0x78);
  EXPECT_EQ(run_->mmio.data[3], 0x12);
}

TEST_F(VcpuTest, NeverReachesBeyondTheDataOfAnMmioExit) {
  auto exit = Run([](kvm_run& run) {
    run.exit_reason = KVM_EXIT_MMIO;
    run.mmio.is_write = 1;
    run.mmio.len = 200;
  });
  EXPECT_EQ(exit.kind, VcpuExit::Kind::kMmioWrite);
  EXPECT_EQ(exit.data.size(), 8u);
}

TEST_F(VcpuTest, PortDataOutsideTheSharedAreaIsNoPortExit) {
  auto run_at = [&](uint64_t offset) {
    return Run([offset](kvm_run& run) {
      run.exit_reason = KVM_EXIT_IO;
      run.io.size = 4;
      run.io.count = 4;
      run.io.data_offset = offset;
    });
  };
  EXPECT_EQ(run_at(FakeKvm::kRunSize - 15).kind, VcpuExit::Kind::kOther);
  EXPECT_EQ(run_at(~uint64_t{0}).kind, VcpuExit::Kind::kOther);
  auto exit = run_at(FakeKvm::kRunSize - 16);
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
  for (auto [reason, kind] : kEnds)
    EXPECT_EQ(Run([why = reason](kvm_run& run) { run.exit_reason = why; }).kind, kind) << reason;
}

TEST_F(VcpuTest, ASignalIsNoError) {
  calls_.OnRun([](uint32_t, kvm_run&) {
    errno = EINTR;
    return -1;
  });
  auto exit = vcpu_.Run();
  ASSERT_TRUE(exit);
  EXPECT_EQ(exit->kind, VcpuExit::Kind::kInterrupted);
  calls_.OnRun([](uint32_t, kvm_run&) {
    errno = EFAULT;
    return -1;
  });
  EXPECT_FALSE(vcpu_.Run());
}

TEST_F(VcpuTest, AKickIsSeenByKvm) {
  uint8_t seen = 0;
  auto look = [&](kvm_run& run) { seen = run.immediate_exit; };
  vcpu_.Kick();
  Run(look);
  EXPECT_EQ(seen, 1);
  vcpu_.ClearKick();
  Run(look);
  EXPECT_EQ(seen, 0);
}

}  // namespace
}  // namespace msb::vmm
