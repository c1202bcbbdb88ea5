// SPDX-License-Identifier: Apache-2.0
// Starting a supervisor.

#include <fcntl.h>
#include <sys/mman.h>

#include "base/text.h"
#include "sandbox/handover.h"
#include "sandbox/sandboxes.h"
#include "sandbox/start_clock.h"
#include "sys/file.h"
#include "sys/process.h"
#include "sys/socket.h"

namespace msb::sandbox {
namespace {

Result<UniqueFd> HandoverFd(const Handover& handover) {
  UniqueFd fd = TRY(sys::MemFd("microsandbox-spec", MFD_ALLOW_SEALING));
  TRY(sys::WriteAll(fd, ToJson(handover)));
  TRY(sys::AddSeals(fd, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL));
  return fd;
}

}  // namespace

Result<UniqueFd> Start(const Home& home, const SandboxSpec& spec, const RootSource& root,
                       const Parts& parts) {
  Handover handover;
  handover.started_ns = MonotonicNs();
  TRY(CheckSpec(spec));
  handover.spec = spec;
  handover.vmm = parts.vmm;
  handover.kernel = parts.kernel;
  handover.initramfs = parts.initramfs;
  handover.agent = parts.agent;
  handover.root_locked = static_cast<bool>(root.lock);
  handover.ids = root.ids.value_or(jail::SubordinateSpan());
  handover.any_ids = root.any_ids;
  handover.one_id_because = root.one_id_because;
  // The supervisor has no environment of its own.
  handover.runtime_dir = sys::GetEnv("XDG_RUNTIME_DIR").value_or("");
  handover.bus_address = sys::GetEnv("DBUS_SESSION_BUS_ADDRESS").value_or("");
  UniqueFd memory = TRY(HandoverFd(handover));
  auto pair = TRY(sys::MakeSocketPair());
  UniqueFd null = TRY(sys::OpenAt(sys::Cwd(), "/dev/null", O_RDWR));
  sys::SpawnOptions spawn{.argv = {"msb-supervisor"},
                          .program = parts.supervisor,
                          .env = {},
                          .workdir = "/",
                          .fds = {{null.get(), 0},
                                  {null.get(), 1},
                                  {pair.second.get(), kHandoverControl},
                                  {memory.get(), kHandoverSpec},
                                  {home.dir().get(), kHandoverHome},
                                  {root.root.get(), kHandoverRoot}},
                          .new_session = true};
  if (root.lock) spawn.fds.push_back({root.lock.get(), kHandoverRootLock});
  auto child = TRY(sys::Spawn(spawn).Context("start the supervisor"));
  // It lives on its own; when it ends before us, init or our own end reaps it.
  (void)std::move(child).Detach();
  return std::move(pair.first);
}

}  // namespace msb::sandbox
