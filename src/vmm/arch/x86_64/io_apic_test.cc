// SPDX-License-Identifier: Apache-2.0
// The I/O APIC's registers as Linux uses them, and what becomes of an edge.

#include "vmm/arch/x86_64/io_apic.h"

#include <gtest/gtest.h>

#include <array>
#include <utility>
#include <vector>

#include "base/bytes.h"

namespace msb::vmm {
namespace {

class IoApicTest : public testing::Test {
 protected:
  uint32_t ReadRegister(uint32_t index) {
    Store(0x00, index);
    std::array<std::byte, 4> out;
    io_apic_.Read(0x10, out);
    return LoadLittle<uint32_t>(out.data());
  }
  void WriteRegister(uint32_t index, uint32_t value) {
    Store(0x00, index);
    Store(0x10, value);
  }
  void Store(uint64_t offset, uint32_t value) {
    std::array<std::byte, 4> in;
    StoreLittle(in.data(), value);
    io_apic_.Write(offset, in);
  }
  void Route(uint32_t pin, uint32_t low, uint32_t target) {
    WriteRegister(0x11 + 2 * pin, target << 24);
    WriteRegister(0x10 + 2 * pin, low);
  }

  std::vector<std::pair<uint32_t, uint32_t>> sent_;
  IoApic io_apic_{3, 6,
                  [this](uint32_t address, uint32_t data) { sent_.emplace_back(address, data); }};
};

TEST_F(IoApicTest, SaysHowManyPinsItHas) {
  EXPECT_EQ(ReadRegister(0), 3u << 24);
  EXPECT_EQ(ReadRegister(1), 0x11u | (5u << 16));
  EXPECT_EQ(ReadRegister(2), 3u << 24);
}

TEST_F(IoApicTest, BeginsMasked) {
  for (uint32_t pin = 0; pin < 6; pin++) EXPECT_EQ(ReadRegister(0x10 + 2 * pin), 0x10000u);
}

TEST_F(IoApicTest, SendsAnEdgeToTheProcessorOfTheEntry) {
  Route(2, 0x31, 7);
  io_apic_.Raise(2);
  ASSERT_EQ(sent_.size(), 1u);
  EXPECT_EQ(sent_[0].first, 0xfee00000u | (7u << 12));
  EXPECT_EQ(sent_[0].second, 0x31u);
}

TEST_F(IoApicTest, KeepsModeAndDelivery) {
  Route(1, 0x40 | (1 << 8) | (1 << 11), 0x0f);
  io_apic_.Raise(1);
  ASSERT_EQ(sent_.size(), 1u);
  EXPECT_EQ(sent_[0].first, 0xfee00000u | (0x0fu << 12) | (1u << 2));
  EXPECT_EQ(sent_[0].second, 0x40u | (1u << 8));
}

TEST_F(IoApicTest, KeepsAnEdgeThatMeetsAMaskedPin) {
  io_apic_.Raise(4);
  io_apic_.Raise(4);
  EXPECT_TRUE(sent_.empty());
  Route(4, 0x55, 0);
  EXPECT_EQ(sent_.size(), 1u) << "one, however many there were";
  Route(4, 0x55, 0);
  EXPECT_EQ(sent_.size(), 1u);
}

TEST_F(IoApicTest, ReadOnlyBitsStayZero) {
  WriteRegister(0x10, 0xffff'ffff);
  EXPECT_EQ(ReadRegister(0x10), 0xffff'ffffu & ~((1u << 12) | (1u << 14)));
}

TEST_F(IoApicTest, OtherWidthsAndPlacesAreNothing) {
  Route(0, 0x20, 1);
  for (size_t width : {1u, 2u, 8u}) {
    std::vector<std::byte> bytes(width, std::byte{0xff});
    for (uint64_t offset = 0; offset < 0x1000; offset += 4) {
      io_apic_.Write(offset, bytes);
      io_apic_.Read(offset, bytes);
      EXPECT_EQ(bytes, std::vector<std::byte>(width));
    }
  }
  WriteRegister(0x1c, 0x1234);
  WriteRegister(0xff, 0x1234);
  EXPECT_EQ(ReadRegister(0x1c), 0u) << "beyond the last pin";
  EXPECT_EQ(ReadRegister(0xff), 0u);
  EXPECT_EQ(ReadRegister(0x10), 0x20u);
}

TEST_F(IoApicTest, GoesOnWhereAnotherEnded) {
  Route(2, 0x31, 7);
  io_apic_.Raise(5);
  auto state = io_apic_.Save();
  std::vector<uint32_t> sent;
  IoApic other(0, 6, [&](uint32_t, uint32_t data) { sent.push_back(data); });
  other.Restore(state);
  other.Raise(2);
  EXPECT_EQ(sent, std::vector<uint32_t>{0x31});
  std::array<std::byte, 4> value;
  StoreLittle<uint32_t>(value.data(), 0x1a);
  other.Write(0, value);
  StoreLittle<uint32_t>(value.data(), 0x44);
  other.Write(0x10, value);
  EXPECT_EQ(sent, (std::vector<uint32_t>{0x31, 0x44})) << "the edge that waited";
}

TEST_F(IoApicTest, ASavedStateOfOnesIsHarmless) {
  IoApic::State state;
  state.index = state.id = state.pending = ~0u;
  state.entries.fill(~uint64_t{0});
  io_apic_.Restore(state);
  io_apic_.Raise(0);
  EXPECT_TRUE(sent_.empty()) << "all are masked";
}

}  // namespace
}  // namespace msb::vmm
