// SPDX-License-Identifier: Apache-2.0
// Rules as bytes: what the kernel takes is tried in rules_component_test.cc, and what they do in
// tests/functional.
#include "network/rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/text.h"

namespace msb::network {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string BytesOf(const NftBatch& batch) { return std::string(AsText(batch.bytes())); }

// A rule as nft(8) sends it: "ip daddr 10.0.0.0/8 drop" of table t, chain c.
TEST(NftBatch, IsGolden) {
  NftBatch batch("t");
  size_t before = batch.bytes().size();
  batch.Rule("c", [](NftRule& rule) {
    rule.Destination({0x0A000000, 8});
    rule.Drop();
  });
  EXPECT_EQ(Hex(batch.bytes().first(before)),
            // The beginning: 20 bytes, type 16, REQUEST, sequence 1; subsystem 10.
            "14000000"
            "1000"
            "0100"
            "01000000"
            "00000000"
            "0000000a");
  EXPECT_EQ(Hex(batch.bytes().subspan(before)),
            "fc000000"
            "060a"
            "010c"
            "02000000"
            "00000000"
            "01000000"
            "06000100"
            "74000000"  // Table.
            "06000200"
            "63000000"  // Chain.
            "d800"
            "0480"  // Expressions.
            "3400"
            "0180"
            "0c000100"
            "7061796c6f616400"
            "2400"
            "0280"  // payload
            "08000100"
            "00000001"
            "08000200"
            "00000001"
            "08000300"
            "00000010"
            "08000400"
            "00000004"
            "4400"
            "0180"
            "0c000100"
            "6269747769736500"
            "3400"
            "0280"  // bitwise
            "08000100"
            "00000001"
            "08000200"
            "00000001"
            "08000300"
            "00000004"
            "0c000480"
            "08000100"
            "ff000000"
            "0c000580"
            "08000100"
            "00000000"
            "2c00"
            "0180"
            "08000100"
            "636d7000"
            "2000"
            "0280"  // cmp
            "08000100"
            "00000001"
            "08000200"
            "00000000"
            "0c000380"
            "08000100"
            "0a000000"
            "3000"
            "0180"
            "0e000100"
            "696d6d6564696174650000"
            "00"
            "1c00"
            "0280"  // immediate
            "08000100"
            "00000000"
            "10000280"
            "0c000280"
            "08000100"
            "00000000");
}

TEST(AddSandbox, NamesServersAndBlocksOfThePolicyOnly) {
  NftBatch batch(kTable);
  Policy policy;
  policy.servers = {0xC0A80101};
  policy.allowed = {{0x0A630000, 16}};
  AddSandbox(batch, Slot::Of(3, kRanges[0]), policy, {});
  std::string bytes = BytesOf(batch);
  EXPECT_THAT(bytes, HasSubstr(std::string("\xC0\xA8\x01\x01", 4)));
  EXPECT_THAT(bytes, HasSubstr(std::string("\x0A\x63\x00\x00", 4)));
  EXPECT_THAT(bytes, HasSubstr("mbx-3"));

  NftBatch plain(kTable);
  AddSandbox(plain, Slot::Of(3, kRanges[0]), {}, {});
  EXPECT_THAT(BytesOf(plain), Not(HasSubstr(std::string("\x0A\x63\x00\x00", 4))));
}

TEST(AddHostTable, RefusesEveryBlockThatIsNotOfTheInternet) {
  NftBatch batch(kTable);
  AddHostTable(batch);
  for (const Cidr& block : kRefused) {
    std::string address = {static_cast<char>(block.address >> 24),
                           static_cast<char>(block.address >> 16),
                           static_cast<char>(block.address >> 8), static_cast<char>(block.address)};
    EXPECT_THAT(BytesOf(batch), HasSubstr(address)) << FormatCidr(block);
  }
}

}  // namespace
}  // namespace msb::network
