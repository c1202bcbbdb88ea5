// SPDX-License-Identifier: Apache-2.0
// A transient scope of our own from systemd, over D-Bus: `msb-<id>.scope`, a cgroup that is ours to
// divide and that goes with its last process. Only systemd may write the upper levels of the cgroup
// tree where it runs, and what is in a scope outlives the unit or the session it was started from.
//
//   we    NUL, AUTH EXTERNAL <uid>, BEGIN        (D-Bus Specification, "Authentication Protocol")
//         Hello, AddMatch(JobRemoved of our unit) on a bus; neither to the manager itself
//         StartTransientUnit(unit, "fail", PIDs=[0: the caller], Delegate, CollectMode, ...)
//   they  OK <guid>; answers; JobRemoved(unit, "done") when this process is in the scope
//
// All that we say goes out in one piece, so that systemd works while we do other things. Its side
// is org.freedesktop.systemd1(5), "StartTransientUnit()" and "Signals".

#pragma once

#include <sys/types.h>

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/deadline.h"
#include "base/fd.h"
#include "base/result.h"

namespace msb::sys {

// A socket behind which a manager may be.
struct ManagerSocket {
  std::string path;
  bool abstract = false;
  bool bus = true;  // False: the manager itself, where there is no bus (systemd(1), "FILES").

  bool operator==(const ManagerSocket&) const = default;
};

// In the order in which they are tried: of the system manager for root, else of the user's. The
// values are those of $XDG_RUNTIME_DIR and $DBUS_SESSION_BUS_ADDRESS, or empty.
std::vector<ManagerSocket> ManagerSockets(uid_t uid, std::string_view runtime_dir,
                                          std::string_view bus_address);

// Both sides' words, without the socket between them.
class ScopeDialogue {
 public:
  ScopeDialogue(std::string unit, bool bus) : unit_(std::move(unit)), bus_(bus) {}

  std::vector<std::byte> Opening(uid_t uid, std::string_view description) const;
  // Untrusted bytes as they come. True: systemd has put the caller into the scope. kUnavailable: no
  // manager is behind this socket. After an error it must not be fed again.
  Result<bool> Feed(std::span<const std::byte> bytes);

 private:
  Result<bool> TakeGreeting();
  Result<void> TakeMessage(std::span<const std::byte> bytes);

  std::string unit_;
  bool bus_;
  std::vector<std::byte> rest_;  // Of a line or message that has not come whole.
  bool greeted_ = false;
  bool answered_ = false;
  bool job_done_ = false;
};

class ScopeRequest {
 public:
  // Asks for a scope around this process. kUnavailable with what was tried when no manager can be
  // reached. `unit` ends in ".scope".
  static Result<ScopeRequest> Send(std::string unit, std::string description,
                                   std::vector<ManagerSocket> sockets, Deadline deadline);
  // Until the scope stands (CgroupHost::OfScope() then finds it) or the deadline has passed.
  Result<void> Await();

  const std::string& unit() const { return unit_; }

 private:
  ScopeRequest(std::string unit, std::string description, std::vector<ManagerSocket> sockets,
               Deadline deadline);
  Result<void> Connect();
  Result<void> Talk();

  std::string unit_;
  std::string description_;
  std::vector<ManagerSocket> sockets_;
  size_t next_ = 0;  // In `sockets_`.
  Deadline deadline_;
  std::string tried_;
  UniqueFd socket_;
  std::optional<ScopeDialogue> dialogue_;
};

}  // namespace msb::sys
