// SPDX-License-Identifier: Apache-2.0
// What msb-vmm tells its supervisor: one line a message, on a SOCK_SEQPACKET socket.
//
//   started                 the processors run from now on
//   channel open|closed     the guest opened or closed the agent's port
//   storage-full            a write to the upper disk met a full host; the request waits
//   end KIND DETAIL         why the machine ends; the last message
//
// The VMM is prey of its guest: a line is hostile, bounded, and believed only about its own
// sandbox.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace msb::sandbox {

inline constexpr size_t kVmmLineLimit = 512;

enum class VmmEnd : uint8_t { kGuestReset, kGuestHalted, kBootFailed, kKvmError, kInternal };
std::string_view Name(VmmEnd end);  // "guest-reset", ...

struct VmmEvent {
  enum class Kind : uint8_t { kStarted, kChannelOpened, kChannelClosed, kStorageFull, kEnd };
  Kind kind;
  VmmEnd end = VmmEnd::kInternal;  // kEnd only.
  std::string_view detail;         // kEnd only; points into the line; not escaped.
};

// nullopt for what is none of the lines above. Pure.
std::optional<VmmEvent> ParseVmmEvent(std::string_view line);

}  // namespace msb::sandbox
