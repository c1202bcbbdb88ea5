// SPDX-License-Identifier: Apache-2.0
// The registers that a guest may touch, as KVM will judge them.

#include "vmm/arch/x86_64/msr_filter.h"

#include <gtest/gtest.h>

namespace msb::vmm {
namespace {

struct Access {
  bool read = false;
  bool write = false;
};

// As KVM does it: the first range that holds the number decides, and none is a refusal.
Access Judge(uint32_t msr) {
  for (const MsrRange& range : AllowedMsrs()) {
    if (msr < range.first || msr - range.first >= range.count) continue;
    uint32_t bit = msr - range.first;
    return {((range.readable[bit / 8] >> (bit % 8)) & 1) != 0,
            ((range.writable[bit / 8] >> (bit % 8)) & 1) != 0};
  }
  return {};
}

TEST(MsrFilter, LetsLinuxDoItsWork) {
  for (uint32_t msr : {0x10u, 0x1bu, 0x48u, 0x6e0u, 0xda0u, 0x277u, 0x4b564d00u, 0x4b564d07u,
                       0xc0000080u, 0xc0000082u, 0xc0000103u}) {
    EXPECT_TRUE(Judge(msr).read) << std::hex << msr;
    EXPECT_TRUE(Judge(msr).write) << std::hex << msr;
  }
  EXPECT_TRUE(Judge(0x10a).read);
  EXPECT_FALSE(Judge(0x10a).write);
  EXPECT_TRUE(Judge(0x49).write);
  EXPECT_FALSE(Judge(0x49).read);
}

TEST(MsrFilter, RefusesCountersAndWhatNobodyNamed) {
  for (uint32_t msr :
       {0xc1u, 0x186u, 0x309u, 0x38fu, 0x3a0u, 0x570u, 0x600u, 0x620u, 0x9ffu, 0x4b564d08u,
        0x40000000u, 0xc0010000u, 0xc0010200u, 0xc0011029u, 0xffffffffu}) {
    EXPECT_FALSE(Judge(msr).read) << std::hex << msr;
    EXPECT_FALSE(Judge(msr).write) << std::hex << msr;
  }
}

TEST(MsrFilter, FitsKvmsLimits) {
  EXPECT_LE(2 * AllowedMsrs().size(), size_t{KVM_MSR_FILTER_MAX_RANGES});
  for (const MsrRange& range : AllowedMsrs()) EXPECT_EQ(range.readable.size() * 8, range.count);
}

}  // namespace
}  // namespace msb::vmm
