// SPDX-License-Identifier: Apache-2.0
// Messages as bytes, answers as attributes, and the kernel, asked for what anybody may ask.

#include "sys/netlink.h"

#include <gtest/gtest.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include "base/text.h"

namespace msb::sys {
namespace {

TEST(NetlinkWriter, PadsAndNests) {
  NetlinkWriter writer;
  writer.Begin(16, NLM_F_CREATE, uint32_t{0x01020304});
  writer.Nest(1, [&] { writer.Text(2, "abcde"); });
  writer.Big32(3, 5);
  EXPECT_EQ(Hex(writer.bytes()),
            "2c000000"
            "1000"
            "0104"
            "01000000"
            "00000000"
            "04030201"
            "10000180"
            "0a000200"
            "6162636465000000"
            "08000300"
            "00000005");
  writer.Begin(17, 0, uint32_t{0});
  EXPECT_EQ(writer.messages(), 2u);
  EXPECT_EQ(LoadLittle<uint32_t>(writer.bytes().data()), 44u);
}

TEST(NetlinkAttributes, EndWhereTheyAreMalformed) {
  NetlinkWriter writer;
  writer.Begin(16, 0, uint32_t{0});
  writer.Text(1, "lo");
  writer.Value(2, uint32_t{7});
  auto bytes = writer.bytes().subspan(20);
  EXPECT_EQ(NetlinkAttributes(bytes).Text(1), "lo");
  EXPECT_EQ(NetlinkAttributes(bytes).Value<uint32_t>(2), 7u);
  EXPECT_EQ(NetlinkAttributes(bytes).Value<uint16_t>(2), std::nullopt);
  EXPECT_TRUE(NetlinkAttributes(bytes).Find(3).empty());
  EXPECT_EQ(NetlinkAttributes(bytes.first(bytes.size() - 1)).Value<uint32_t>(2), std::nullopt);
  std::byte zero[8] = {};
  EXPECT_TRUE(NetlinkAttributes(zero).Find(0).empty());
}

TEST(NetlinkSocket, HearsAnswersAndErrors) {
  auto socket = *NetlinkSocket::Open(NETLINK_ROUTE);
  NetlinkWriter every;
  every.Begin(RTM_GETLINK, NLM_F_DUMP, ifinfomsg{});
  bool loopback = false;
  ASSERT_TRUE(socket
                  .Execute(every,
                           [&](uint16_t type, std::span<const std::byte> payload) {
                             NetlinkAttributes attributes(payload.subspan(sizeof(ifinfomsg)));
                             loopback |=
                                 type == RTM_NEWLINK && attributes.Text(IFLA_IFNAME) == "lo";
                           })
                  .ok());
  EXPECT_TRUE(loopback);
  NetlinkWriter none;
  none.Begin(RTM_GETLINK, 0, ifinfomsg{});
  none.Text(IFLA_IFNAME, "nosuch0");
  auto asked = socket.Execute(none);
  ASSERT_FALSE(asked.ok());
  EXPECT_EQ(asked.error().sys_errno(), ENODEV);
}

}  // namespace
}  // namespace msb::sys
