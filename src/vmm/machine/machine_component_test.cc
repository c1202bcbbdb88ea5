// SPDX-License-Identifier: Apache-2.0
// Whole machines: on a fake KVM, whose processors do as the test says; and one on the host's.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>

#include <atomic>
#include <cstdlib>

#include "base/bytes.h"
#include "base/text.h"
#include "base/units.h"
#include "sys/file.h"
#include "sys/socket.h"
#include "vmm/arch/x86_64/test_kernel.h"
#include "vmm/kvm/cpuid_calls.h"
#include "vmm/kvm/test_fake_kvm.h"
#include "vmm/machine/machine.h"

namespace msb::vmm {
namespace {

using Kind = Outcome::Kind;

UniqueFd Disk() {
  auto file = *sys::MemFd("disk");
  EXPECT_TRUE(sys::Truncate(file, 64 * 1024).ok());
  return file;
}

UniqueFd ReadOnly(UniqueFd file) {
  return *sys::OpenAt(sys::Cwd(), Cat("/proc/self/fd/", file.get()), O_RDONLY);
}

int Ends(kvm_run& shared, uint32_t reason) {
  shared.exit_reason = reason;
  return 0;
}

// As KVM_RUN of a guest that has nothing to do.
int Waits(kvm_run& shared) {
  while (std::atomic_ref(shared.immediate_exit).load() == 0) ::poll(nullptr, 0, 1000);
  errno = EINTR;
  return -1;
}

// Everything that a machine is made of.
class TestMachine {
 public:
  TestMachine() {
    auto agent = *sys::MakeSocketPair(), console = *sys::MakeSocketPair();
    agent_ = std::move(agent.first);
    console_ = std::move(console.first);
    files_.kernel = TestKernel().File();
    files_.initramfs = *sys::MemFd("initramfs");
    files_.devices = {.root = ReadOnly(Disk()),
                      .upper = Disk(),
                      .agent = std::move(agent.second),
                      .console = std::move(console.second)};
  }

  Result<std::unique_ptr<Machine>> Make(uint32_t cpus, KvmCalls& calls, UniqueFd device) {
    auto kvm = TRY(Kvm::Create(std::move(device), calls));
    auto vm = TRY(kvm.CreateVm());
    auto machine = TRY(Machine::Create({.cpus = cpus, .memory_bytes = 64 * kMiB}, std::move(vm),
                                       std::move(files_), std::move(hooks_), *loop_));
    TRY(machine->SetUpKvm(std::move(kvm)));
    return machine;
  }
  Result<std::unique_ptr<Machine>> Make(uint32_t cpus = 1) {
    return Make(cpus, calls_, *sys::MemFd("kvm"));
  }
  // How it ends.
  Outcome RunCpus(uint32_t cpus, FakeKvm::Run run) {
    calls_.OnRun(std::move(run));
    auto machine = Make(cpus);
    EXPECT_TRUE(machine.ok()) << machine.error().message();
    if (!machine.ok()) return {};
    (*machine)->Start();
    EXPECT_TRUE(loop_->Run().ok());
    return (*machine)->ended().value_or(Outcome{});
  }

  FakeKvm calls_;
  MachineFiles files_;
  MachineHooks hooks_;
  UniqueFd agent_, console_;
  std::unique_ptr<event::Loop> loop_ = *event::Loop::Create();
};
class MachineTest : public testing::Test, protected TestMachine {};

TEST_F(MachineTest, EndsByItsNameWhateverStopsTheProcessor) {
  struct Case {
    uint32_t reason;
    Kind kind;
    const char* detail;
  };
  const Case kCases[] = {
      {KVM_EXIT_SHUTDOWN, Kind::kGuestReset, "triple fault on CPU 0"},
      {KVM_EXIT_HLT, Kind::kGuestHalted, "CPU 0 halted for good"},
      {KVM_EXIT_FAIL_ENTRY, Kind::kKvmError,
       "CPU 0: the processor refused the guest's state: hardware reason 0, at 0x0"},
      {KVM_EXIT_INTERNAL_ERROR, Kind::kKvmError,
       "CPU 0: KVM cannot go on: internal error 0, at 0x0"},
      {KVM_EXIT_HYPERCALL, Kind::kKvmError,
       "CPU 0: KVM stopped for an unknown reason: exit 3, at 0x0"},
  };
  for (const Case& one : kCases) {
    TestMachine machine;
    auto outcome =
        machine.RunCpus(1, [&](uint32_t, kvm_run& shared) { return Ends(shared, one.reason); });
    EXPECT_EQ(outcome.kind, one.kind) << one.detail;
    EXPECT_EQ(outcome.detail, one.detail);
  }
}

TEST_F(MachineTest, EndsWhenKvmFails) {
  auto outcome = RunCpus(1, [](uint32_t, kvm_run&) {
    errno = EFAULT;
    return -1;
  });
  EXPECT_EQ(outcome.kind, Kind::kKvmError);
  EXPECT_EQ(outcome.detail, "CPU 0: KVM_RUN: Bad address");
}

TEST_F(MachineTest, OneProcessorsEndStopsTheOthers) {
  auto outcome = RunCpus(4, [](uint32_t cpu, kvm_run& shared) {
    return cpu == 2 ? Ends(shared, KVM_EXIT_SHUTDOWN) : Waits(shared);
  });
  EXPECT_EQ(outcome.detail, "triple fault on CPU 2");
}

TEST_F(MachineTest, DevicesAnswerTheProcessor) {
  std::atomic<int> step = 0;
  std::atomic<uint32_t> magic = 0, port = 0;
  RunCpus(1, [&](uint32_t, kvm_run& shared) {
    switch (step++) {
      case 0:
        shared.mmio.phys_addr = 0xd000'0000;
        shared.mmio.len = 4;
        shared.mmio.is_write = 0;
        return Ends(shared, KVM_EXIT_MMIO);
      case 1:
        magic = LoadLittle<uint32_t>(std::as_bytes(std::span(shared.mmio.data)).data());
        shared.io.direction = KVM_EXIT_IO_IN;
        shared.io.size = 1;
        shared.io.count = 1;
        shared.io.port = 0x64;
        shared.io.data_offset = 4096;
        return Ends(shared, KVM_EXIT_IO);
      default:
        // SAFETY: the fake's area is three pages.
        port = reinterpret_cast<const uint8_t*>(&shared)[4096];
        return Ends(shared, KVM_EXIT_SHUTDOWN);
    }
  });
  EXPECT_EQ(magic, 0x74726976u);
  EXPECT_EQ(port, 0xffu) << "an empty bus";
}

TEST_F(MachineTest, GoesInTheMiddleOfAnything) {
  calls_.OnRun([](uint32_t, kvm_run& shared) { return Waits(shared); });
  auto machine = Make(3);
  ASSERT_TRUE(machine) << machine.error().message();
  (*machine)->Start();
  machine->reset();
}

TEST_F(MachineTest, GoesBeforeItsStart) {
  auto machine = Make(2);
  ASSERT_TRUE(machine) << machine.error().message();
  machine->reset();
  EXPECT_EQ(calls_.Count(KVM_RUN), 0u);
}

// A guest that resets a device has its processor wait for the device thread, which is the one that
// ends the machine.
TEST_F(MachineTest, GoesWhileAProcessorWaitsForADevice) {
  calls_.OnRun([](uint32_t, kvm_run& shared) {
    shared.mmio.phys_addr = 0xd000'0070;  // Status: reset.
    shared.mmio.len = 4;
    shared.mmio.is_write = 1;
    std::memset(shared.mmio.data, 0, sizeof shared.mmio.data);
    return Ends(shared, KVM_EXIT_MMIO);
  });
  auto machine = Make(2);
  ASSERT_TRUE(machine) << machine.error().message();
  (*machine)->Start();
  ::poll(nullptr, 0, 20);  // Most likely both wait by now.
  machine->reset();
}

TEST_F(MachineTest, ConfinesEachThreadByItsClass) {
  std::atomic<int> workers = 0, cpus = 0;
  hooks_.confine = [&](ThreadClass kind) { (kind == ThreadClass::kVcpu ? cpus : workers)++; };
  RunCpus(3, [](uint32_t cpu, kvm_run& shared) {
    return cpu == 0 ? Ends(shared, KVM_EXIT_SHUTDOWN) : Waits(shared);
  });
  EXPECT_EQ(workers, 1);
  EXPECT_EQ(cpus, 3);
}

TEST_F(MachineTest, TellsWhichFileCannotBe) {
  struct Case {
    void (*breaks)(MachineFiles&);
    const char* says;
  };
  const Case kCases[] = {
      {[](MachineFiles& f) { f.kernel = *sys::MemFd("empty"); }, "guest kernel: shorter than"},
      {[](MachineFiles& f) { f.kernel = UniqueFd(); }, "guest kernel: fstat"},
      {[](MachineFiles& f) { f.initramfs = UniqueFd(); }, "guest initramfs: fstat"},
      {[](MachineFiles& f) { f.devices.root = Disk(); }, "root disk: "},
      {[](MachineFiles& f) { f.devices.upper = ReadOnly(std::move(f.devices.upper)); },
       "writable disk: "},
  };
  for (const Case& one : kCases) {
    TestMachine test;
    one.breaks(test.files_);
    auto machine = test.Make();
    ASSERT_FALSE(machine) << one.says;
    EXPECT_EQ(machine.error().message().rfind(one.says, 0), 0u) << machine.error().message();
  }
}

// What fails in SetUpKvm() is KVM's fault, and the user is sent to doctor, not to the kernel's
// file.
TEST_F(MachineTest, TellsWhatKvmRefused) {
  struct Case {
    unsigned long request;
    const char* says;
  };
  const Case kCases[] = {
      {KVM_ENABLE_CAP, "KVM_ENABLE_CAP KVM_CAP_SPLIT_IRQCHIP: Cannot allocate memory"},
      {KVM_SET_TSS_ADDR, "KVM_SET_TSS_ADDR: "},
      {KVM_X86_SET_MSR_FILTER, "KVM_X86_SET_MSR_FILTER: "},
      {KVM_SET_USER_MEMORY_REGION,
       "guest memory of 67108864 bytes at 0: KVM_SET_USER_MEMORY_REGION: "},
      {KVM_IOEVENTFD, "KVM_IOEVENTFD: "},
      {kGetSupportedCpuid, "KVM_GET_SUPPORTED_CPUID: "},
      {KVM_CREATE_VCPU, "KVM_CREATE_VCPU: "},
      {kSetCpuid2, "KVM_SET_CPUID2: "},
      {KVM_SET_SREGS, "KVM_SET_SREGS: "},
      {KVM_SET_REGS, "KVM_SET_REGS: "},
  };
  for (const Case& one : kCases) {
    TestMachine test;
    test.calls_.Fail(one.request, ENOMEM);
    auto kvm = *Kvm::Create(*sys::MemFd("kvm"), test.calls_);
    auto vm = *kvm.CreateVm();
    auto machine = Machine::Create({.cpus = 2, .memory_bytes = 64 * kMiB}, std::move(vm),
                                   std::move(test.files_), {}, *test.loop_);
    ASSERT_TRUE(machine) << one.says << " is not asked by Create()";
    auto set_up = (*machine)->SetUpKvm(std::move(kvm));
    ASSERT_FALSE(set_up) << one.says;
    EXPECT_EQ(set_up.error().message().rfind(one.says, 0), 0u) << set_up.error().message();
    EXPECT_NE(set_up.error().remedy().find("msb doctor"), std::string::npos) << one.says;
  }
}

TEST_F(MachineTest, TellsWhichPartOfKvmIsMissing) {
  calls_.Fail(KVM_X86_SET_MSR_FILTER, ENOTTY);
  calls_.OnCall(KVM_CHECK_EXTENSION,
                [](uint64_t what) { return what == KVM_CAP_X86_MSR_FILTER ? 0 : 1; });
  auto machine = Make();
  ASSERT_FALSE(machine);
  EXPECT_EQ(machine.error().message(),
            "the host's KVM lacks KVM_CAP_X86_MSR_FILTER: KVM_X86_SET_MSR_FILTER: Inappropriate "
            "ioctl for device");
}

// KVM itself is needed for the making alone: what a processor's thread may have of it is its own.
TEST_F(MachineTest, ClosesTheDeviceOnceItIsMade) {
  auto device = *sys::MemFd("kvm");
  int number = device.get();
  auto machine = Make(1, calls_, std::move(device));
  ASSERT_TRUE(machine) << machine.error().message();
  EXPECT_EQ(::fcntl(number, F_GETFD), -1);
}

// No table of interrupts, then an interrupt: the shortest way to a triple fault. 32-bit code.
constexpr uint8_t kTripleFault[] = {
    0x0f, 0x01, 0x1d, 0x00, 0x00, 0x00, 0x00,  // lidt [0], which is zeros
    0x0f, 0x0b,                                // ud2
};

TEST_F(MachineTest, RunsOnTheHostsKvm) {
  auto device = sys::OpenAt(sys::Cwd(), "/dev/kvm", O_RDWR);
  // Set where KVM is known to work: there a missing one is a failure.
  bool must_work = std::getenv("MSB_KVM_WORKS") != nullptr;
  if (!device && !must_work) GTEST_SKIP() << "needs KVM: " << device.error().message();
  ASSERT_TRUE(device) << device.error().message();
  files_.kernel = TestKernel(kTripleFault).File();
  RealKvmCalls real;
  auto machine = Make(2, real, *std::move(device));
  ASSERT_TRUE(machine) << machine.error().message() << "; " << machine.error().remedy();
  (*machine)->Start();
  ASSERT_TRUE(loop_->Run().ok());
  EXPECT_EQ((*machine)->ended()->kind, Kind::kGuestReset) << (*machine)->ended()->detail;
  EXPECT_EQ((*machine)->ended()->detail, "triple fault on CPU 0");
}

}  // namespace
}  // namespace msb::vmm
