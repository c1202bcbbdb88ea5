// SPDX-License-Identifier: Apache-2.0
// The parts of a machine that need no KVM.

#include "vmm/machine/machine.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "base/bytes.h"
#include "base/units.h"
#include "vmm/arch/x86_64/io_apic.h"
#include "vmm/arch/x86_64/layout.h"
#include "vmm/kvm/test_fake_kvm.h"
#include "vmm/machine/address_map.h"
#include "vmm/machine/command_line.h"
#include "vmm/machine/loop_thread.h"
#include "vmm/virtio/rng/device.h"

namespace msb::vmm {
namespace {

TEST(CommandLine, NamesDevicesInTheOrderOfProbing) {
  DeviceWindow windows[] = {{{0xd000'0000}, 1}, {{0xd000'0200}, 2}};
  auto line = KernelCommandLine(Console::kQuiet, windows);
  EXPECT_NE(line.find(" virtio_mmio.device=512@0xd0000000:1 virtio_mmio.device=512@0xd0000200:2"),
            std::string::npos);
  EXPECT_NE(line.find("console=hvc0 reboot=t panic=-1"), std::string::npos);
  EXPECT_NE(line.find(" quiet "), std::string::npos);
  EXPECT_EQ(KernelCommandLine(Console::kVerbose, windows).find("quiet"), std::string::npos);
}

TEST(CommandLine, LeavesMitigationsOn) {
  EXPECT_EQ(KernelCommandLine(Console::kQuiet, {}).find("mitigations"), std::string::npos);
}

TEST(Outcome, HasTheNamesOfTheControlSocket) {
  using Kind = Outcome::Kind;
  EXPECT_EQ(OutcomeName(Kind::kGuestReset), "guest-reset");
  EXPECT_EQ(OutcomeName(Kind::kGuestHalted), "guest-halted");
  EXPECT_EQ(OutcomeName(Kind::kBootFailed), "boot-failed");
  EXPECT_EQ(OutcomeName(Kind::kKvmError), "kvm-error");
  EXPECT_EQ(OutcomeName(Kind::kInternal), "internal");
  EXPECT_TRUE(Outcome{Kind::kGuestReset}.by_guest());
  EXPECT_FALSE(Outcome{Kind::kKvmError}.by_guest());
}

class NoInterrupt final : public Interrupt {
 public:
  void Raise() override {}
};
class SameThread final : public DeviceThread {
 public:
  void Call(std::function<void()> call) override { call(); }
};

class AddressMapTest : public testing::Test {
 protected:
  uint32_t Read32(uint64_t address) {
    std::array<std::byte, 4> out{};
    map_.Read(address, out);
    return LoadLittle<uint32_t>(out.data());
  }

  std::unique_ptr<event::Loop> loop_ = *event::Loop::Create();
  GuestMemory memory_ = *GuestMemory::Create(kMiB);
  NoInterrupt interrupt_;
  SameThread thread_;
  RngDevice first_{*loop_}, second_{*loop_};
  MmioTransport transport_{first_, memory_, interrupt_, thread_};
  MmioTransport other_{second_, memory_, interrupt_, thread_};
  IoApic io_apic_{5, 3, [](uint32_t, uint32_t) {}};
  std::array<MmioTransport*, 2> transports_{&transport_, &other_};
  AddressMap map_{io_apic_, transports_};
};

TEST_F(AddressMapTest, LeadsToEachDevicesWindow) {
  constexpr uint32_t kMagic = 0x74726976;
  EXPECT_EQ(Read32(0xd000'0000), kMagic);
  EXPECT_EQ(Read32(0xd000'0200), kMagic);
  EXPECT_EQ(Read32(0xd000'0208), 4u) << "an entropy device";
  EXPECT_EQ(Read32(0xd000'0400), ~0u) << "behind the last one";
  EXPECT_EQ(Read32(0xcfff'fffc), ~0u);
}

TEST_F(AddressMapTest, LeadsToTheIoApic) {
  std::array<std::byte, 4> index{std::byte{1}};
  map_.Write(0xfec0'0000, index);
  EXPECT_EQ(Read32(0xfec0'0010), 0x11u | (2u << 16));
  EXPECT_EQ(Read32(0xfec0'1000), ~0u);
}

TEST_F(AddressMapTest, ElsewhereIsAnEmptyBus) {
  std::array<std::byte, 8> ones{};
  for (uint64_t address : {uint64_t{0}, uint64_t{0xc000'0000}, uint64_t{0xfee0'0000}, ~uint64_t{0},
                           ~uint64_t{0} - 7, uint64_t{1} << 63}) {
    map_.Write(address, ones);
    ones.fill(std::byte{0});
    map_.Read(address, ones);
    EXPECT_EQ(LoadLittle<uint64_t>(ones.data()), ~uint64_t{0}) << address;
  }
}

TEST(LoopThread, RunsTheCallOnTheLoopsThreadWhileTheCallerWaits) {
  auto loop = *event::Loop::Create();
  LoopThread calls(*loop);
  auto loop_thread = std::this_thread::get_id();
  std::thread::id ran_on;
  bool seen_after = false;
  std::thread caller([&] {
    calls.Call([&] { ran_on = std::this_thread::get_id(); });
    seen_after = ran_on == loop_thread;
    loop->Post([&] { loop->Stop(); });
  });
  EXPECT_TRUE(loop->Run().ok());
  caller.join();
  EXPECT_TRUE(seen_after);
}

TEST(LoopThread, LetsTheCallerGoWhenTheMachineEnds) {
  auto loop = *event::Loop::Create();
  LoopThread calls(*loop);
  std::atomic<bool> ran = false;
  std::thread caller([&] { calls.Call([&] { ran = true; }); });
  calls.Close();
  caller.join();  // Whether it came before or after.
  EXPECT_FALSE(ran);
  calls.Call([&] { ran = true; });
  EXPECT_FALSE(ran);
}

class RefusedMachine : public testing::Test {
 protected:
  std::string WhyNot(const MachineSpec& spec) {
    auto kvm = Kvm::Create(*sys::MemFd("kvm"), calls_);
    auto vm = kvm->CreateVm();
    auto machine = Machine::Create(spec, std::move(*vm), {}, {}, *loop_);
    return machine.ok() ? "it is made" : machine.error().message();
  }
  FakeKvm calls_;
  std::unique_ptr<event::Loop> loop_ = *event::Loop::Create();
};

TEST_F(RefusedMachine, HasNoProcessorOrTooMany) {
  EXPECT_EQ(WhyNot({.cpus = 0, .memory_bytes = 64 * kMiB}), "0 CPUs: 1 to 32");
  EXPECT_EQ(WhyNot({.cpus = 33, .memory_bytes = 64 * kMiB}), "33 CPUs: 1 to 32");
}

TEST_F(RefusedMachine, HasTooLittleMemoryOrHalfAPage) {
  EXPECT_EQ(WhyNot({.memory_bytes = 32 * kMiB}),
            "33554432 bytes of memory: whole pages, at least 64 MiB");
  EXPECT_NE(WhyNot({.memory_bytes = 64 * kMiB + 1}).find("whole pages"), std::string::npos);
}

}  // namespace
}  // namespace msb::vmm
