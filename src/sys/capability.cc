// SPDX-License-Identifier: Apache-2.0
// capget(2), capset(2), and the prctls of the bounding and ambient sets.

#include "sys/capability.h"

#include <linux/capability.h>
#include <linux/securebits.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace msb::sys {
namespace {

constexpr int kLastPossible = 63;

int RawGet(__user_cap_data_struct (&data)[2]) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  return static_cast<int>(::syscall(SYS_capget, &header, data));
}

uint64_t Wide(uint32_t low, uint32_t high) { return low | uint64_t{high} << 32; }

}  // namespace

Result<CapabilitySets> GetCapabilities() {
  __user_cap_data_struct data[2];
  if (RawGet(data) == -1) return Error::Errno("capget");
  return CapabilitySets{Wide(data[0].effective, data[1].effective),
                        Wide(data[0].permitted, data[1].permitted),
                        Wide(data[0].inheritable, data[1].inheritable)};
}

int RawDropCapabilities(uint64_t keep) {
  __user_cap_data_struct data[2];
  if (RawGet(data) == -1) return -1;
  if ((data[0].effective & (1u << CAP_SETPCAP)) != 0) {
    if (RawLimitCapabilities(0) == -1) return -1;
    constexpr unsigned kBits = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP |
                               SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_KEEP_CAPS_LOCKED |
                               SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;
    if (::prctl(PR_SET_SECUREBITS, kBits, 0, 0, 0) == -1) return -1;
  }
  return RawKeepCapabilities(keep);
}

int RawLimitCapabilities(uint64_t keep) {
  for (int bit = 0; bit <= kLastPossible; bit++) {
    if ((keep >> bit & 1) != 0) continue;
    if (::prctl(PR_CAPBSET_DROP, bit, 0, 0, 0) == 0) continue;
    // The first number that the kernel does not know ends the list.
    if (errno == EINVAL) break;
    return -1;
  }
  return 0;
}

int RawKeepCapabilities(uint64_t keep) {
  __user_cap_data_struct data[2];
  if (RawGet(data) == -1) return -1;
  if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) == -1) return -1;
  for (int half = 0; half < 2; half++) {
    auto wanted = static_cast<uint32_t>(keep >> (32 * half));
    data[half].permitted &= wanted;
    data[half].effective = data[half].permitted;
    data[half].inheritable = 0;
  }
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  return static_cast<int>(::syscall(SYS_capset, &header, data));
}

Result<void> DropCapabilities(uint64_t keep) {
  if (RawDropCapabilities(keep) == -1) return Error::Errno("drop capabilities");
  return {};
}

}  // namespace msb::sys
