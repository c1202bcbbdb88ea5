// SPDX-License-Identifier: Apache-2.0
// What Start() hands to the supervisor it starts: descriptors at fixed numbers, and JSON in one.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "jail/subordinate_ids.h"
#include "sandbox/spec.h"

namespace msb::sandbox {

inline constexpr int kHandoverControl = 3;   // A socket: the first client.
inline constexpr int kHandoverSpec = 4;      // A sealed memfd: Handover as JSON.
inline constexpr int kHandoverHome = 5;      // Directory.
inline constexpr int kHandoverRoot = 6;      // The root disk, read-only, or a tree's directory.
inline constexpr int kHandoverRootLock = 7;  // Of a root tree of the store; see root_locked.

struct Handover {
  SandboxSpec spec;
  int64_t started_ns = 0;  // CLOCK_MONOTONIC of Start().
  std::string vmm;
  std::string kernel;
  std::string initramfs;
  std::string agent;
  bool root_locked = false;
  // As RootSource has them; of no ids the count is 0.
  jail::SubordinateSpan ids;
  bool any_ids = false;
  std::string one_id_because;
  // The caller's $XDG_RUNTIME_DIR and $DBUS_SESSION_BUS_ADDRESS, where his manager may be; or
  // empty.
  std::string runtime_dir;
  std::string bus_address;
  int64_t boot_deadline_ms = 60'000;
};
std::string ToJson(const Handover& handover);
Result<Handover> ParseHandover(std::string_view json);

}  // namespace msb::sandbox
