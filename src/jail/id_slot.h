// SPDX-License-Identifier: Apache-2.0
// Host-wide id slots: root gives each sandbox's machine a uid and gid that nothing else on the host
// has, claimed by an open-file-description lock on one byte of /run/microsandbox/ids.

#pragma once

#include <cstdint>
#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace msb::jail {

// Above what systemd hands out to containers (to 0x6FFFFFFF) and what sssd maps domain users to (to
// 2,000,200,000; sssd-ldap(5), ldap_idmap_range_max), below systemd's foreign ids (from 0x7FFE0000)
// and the sign bit.
inline constexpr uint32_t kFirstSlotId = 0x7C000000;  // 2,080,374,784
inline constexpr uint32_t kSlotCount = 65'536;

// Held as long as the value lives; the kernel lets go of it when the holder dies.
struct IdSlot {
  uint32_t number;
  uint32_t id;  // uid and gid.
  UniqueFd lock;
};

struct IdSlotSource {
  std::string directory =
      "/run/microsandbox";             // Made 0700, root's; refused if it is anybody's else.
  std::string subuid = "/etc/subuid";  // Slots that these hand to users are left out.
  std::string subgid = "/etc/subgid";
};
Result<IdSlot> ClaimIdSlot(const IdSlotSource& source = {});

// A range of its own for a process sandbox's user namespace: `id` is the first of kIdsOfRange.
// Between what sssd maps and the slots above.
inline constexpr uint32_t kIdsOfRange = 65'536;
inline constexpr uint32_t kFirstRangeId = 0x78000000;  // 2,013,265,920
inline constexpr uint32_t kRangeCount = 1024;
Result<IdSlot> ClaimIdRange(const IdSlotSource& source = {});

}  // namespace msb::jail
