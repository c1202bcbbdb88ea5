// SPDX-License-Identifier: Apache-2.0
// One file a setting.

#include "network/settings.h"

#include <unistd.h>

#include "base/text.h"
#include "sys/file.h"

namespace msb::network {
namespace {

constexpr size_t kLimit = 64;

std::string ForwardingOf(std::string_view link) {
  return Cat("/proc/sys/net/ipv4/conf/", link, "/forwarding");
}

Result<void> Write(const std::string& path, std::string_view value) {
  UniqueFd file = TRY(sys::OpenAt(sys::Cwd(), path, O_WRONLY));
  return sys::WriteAll(file, value).Context(path);
}

}  // namespace

Ipv6 FindIpv6() { return ::access("/proc/sys/net/ipv6", F_OK) == 0 ? Ipv6::kThere : Ipv6::kNone; }

Result<void> DisableIpv6() {
  if (FindIpv6() == Ipv6::kNone) return {};
  return Write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
}

Result<bool> ForwardsEverywhere() { return Forwards("all"); }

Result<bool> Forwards(const std::string& link) {
  auto text = TRY(sys::ReadFileAt(sys::Cwd(), ForwardingOf(link), kLimit));
  return text.starts_with('1');
}

Result<void> SetForwards(const std::string& link, bool on) {
  return Write(ForwardingOf(link), on ? "1" : "0")
      .Remedy("forwarding must be on for a bridge: sysctl -w net.ipv4.ip_forward=1");
}

}  // namespace msb::network
