// SPDX-License-Identifier: Apache-2.0
#include "network/address.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "network/policy.h"
#include "network/slot.h"

namespace msb::network {
namespace {

TEST(Address, IsFourDecimalNumbers) {
  EXPECT_EQ(*ParseAddress("10.44.0.3"), 0x0A2C0003u);
  EXPECT_EQ(FormatAddress(0x0A2C0003), "10.44.0.3");
  EXPECT_EQ(*ParseAddress("255.255.255.255"), ~0u);
  for (const char* wrong : {"", "1.2.3", "1.2.3.4.5", "256.1.1.1", "1.2.3.04", "0x7f.0.0.1",
                            "1.2.3.4 ", "-1.2.3.4", "1..2.3", "::1", "host"}) {
    EXPECT_FALSE(ParseAddress(wrong).ok()) << wrong;
    EXPECT_FALSE(ParseAddress(wrong).error().remedy().empty()) << wrong;
  }
}

TEST(Cidr, IsABlock) {
  EXPECT_EQ(*ParseCidr("10.0.0.0/8"), (Cidr{0x0A000000, 8}));
  EXPECT_EQ(*ParseCidr("192.0.2.7"), (Cidr{0xC0000207, 32}));
  EXPECT_EQ(*ParseCidr("0.0.0.0/0"), (Cidr{0, 0}));
  EXPECT_TRUE((Cidr{0, 0}).Contains(~0u));
  EXPECT_TRUE((Cidr{0x0A000000, 8}).Contains(0x0AFFFFFF));
  EXPECT_FALSE((Cidr{0x0A000000, 8}).Contains(0x0B000000));
  for (const char* wrong : {"10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "10/8", "fd00::/8", "/8"})
    EXPECT_FALSE(ParseCidr(wrong).ok()) << wrong;
}

TEST(Cidr, OfABlockWithMoreBitsTheBlockIsTheRemedy) {
  auto cidr = ParseCidr("10.1.2.3/8");
  ASSERT_FALSE(cidr.ok());
  EXPECT_EQ(cidr.error().remedy(), "10.0.0.0/8");
}

TEST(PublishedPort, IsOfTheLoopbackUnlessSaidOtherwise) {
  EXPECT_EQ(*ParsePublishedPort("8080:80"), (PublishedPort{0x7F000001, 8080, 80, Transport::kTcp}));
  EXPECT_EQ(*ParsePublishedPort("0.0.0.0:53:5353/udp"),
            (PublishedPort{0, 53, 5353, Transport::kUdp}));
  EXPECT_EQ(FormatPublishedPort(*ParsePublishedPort("8080:80/tcp")), "127.0.0.1:8080:80/tcp");
  for (const char* wrong : {"", "80", "80:", ":80", "0:80", "80:0", "65536:80", "80:80/sctp",
                            "80:80/", "1.2.3:80:80", "[::1]:80:80", "80:80:80", "a:b"}) {
    EXPECT_FALSE(ParsePublishedPort(wrong).ok()) << wrong;
    EXPECT_FALSE(ParsePublishedPort(wrong).error().remedy().empty()) << wrong;
  }
}

TEST(Slot, HasAPairOfAddressesInEveryRange) {
  auto slot = Slot::Of(7, kRanges[0]);
  EXPECT_EQ(FormatAddress(slot.gateway), "10.44.0.14");
  EXPECT_EQ(FormatAddress(slot.address), "10.44.0.15");
  EXPECT_EQ(slot.Link(), "mbx-7");
  for (const Cidr& range : kRanges) {
    EXPECT_TRUE(range.Contains(Slot::Of(kSlots - 1, range).address)) << FormatCidr(range);
    EXPECT_LT(Slot::Of(kSlots - 1, range).Link().size(), 16u);
  }
}

// Sandboxes do not reach each other by the rules of what is private.
TEST(Slot, LiesInWhatIsRefused) {
  for (const Cidr& range : kRanges) {
    EXPECT_TRUE(std::any_of(std::begin(kRefused), std::end(kRefused), [&](const Cidr& block) {
      return block.bits <= range.bits && block.Contains(range.address);
    })) << FormatCidr(range);
  }
}

}  // namespace
}  // namespace msb::network
