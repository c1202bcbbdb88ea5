// SPDX-License-Identifier: Apache-2.0
#include "sandbox/vmm_events.h"

#include <array>

namespace msb::sandbox {
namespace {

struct EndName {
  VmmEnd end;
  std::string_view name;
};
constexpr auto kEndNames = std::to_array<EndName>({
    {VmmEnd::kGuestReset, "guest-reset"},
    {VmmEnd::kGuestHalted, "guest-halted"},
    {VmmEnd::kBootFailed, "boot-failed"},
    {VmmEnd::kKvmError, "kvm-error"},
    {VmmEnd::kInternal, "internal"},
});
constexpr std::string_view kEndPrefix = "end ";

}  // namespace

std::string_view Name(VmmEnd end) {
  for (const EndName& known : kEndNames)
    if (known.end == end) return known.name;
  return "internal";
}

std::optional<VmmEvent> ParseVmmEvent(std::string_view line) {
  using Kind = VmmEvent::Kind;
  if (line.size() > kVmmLineLimit) return std::nullopt;
  if (!line.empty() && line.back() == '\n') line.remove_suffix(1);
  if (line == "started") return VmmEvent{.kind = Kind::kStarted};
  if (line == "channel open") return VmmEvent{.kind = Kind::kChannelOpened};
  if (line == "channel closed") return VmmEvent{.kind = Kind::kChannelClosed};
  if (line == "storage-full") return VmmEvent{.kind = Kind::kStorageFull};
  if (!line.starts_with(kEndPrefix)) return std::nullopt;
  line.remove_prefix(kEndPrefix.size());
  size_t space = line.find(' ');
  std::string_view name = line.substr(0, space);
  for (const EndName& known : kEndNames)
    if (known.name == name)
      return VmmEvent{
          .kind = Kind::kEnd,
          .end = known.end,
          .detail = space == std::string_view::npos ? std::string_view() : line.substr(space + 1)};
  return std::nullopt;
}

}  // namespace msb::sandbox
