// SPDX-License-Identifier: Apache-2.0
// msb-supervisor: owns one sandbox. Started by msb and msb-server only, with descriptors at fixed
// numbers (src/sandbox/handover.h).

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string_view>

#include "base/log.h"
#include "sandbox/supervisor_setup.h"
#include "sys/file.h"
#include "sys/process.h"

namespace {

using msb::Result;
using msb::UniqueFd;

Result<msb::sandbox::SupervisorInput> TakeInput() {
  namespace sandbox = msb::sandbox;
  sandbox::SupervisorInput input;
  input.control = UniqueFd(sandbox::kHandoverControl);
  UniqueFd spec(sandbox::kHandoverSpec);
  input.home = UniqueFd(sandbox::kHandoverHome);
  input.root = UniqueFd(sandbox::kHandoverRoot);
  for (const UniqueFd* fd : {&input.control, &spec, &input.home, &input.root})
    TRY(msb::sys::SetCloseOnExec(*fd, true));
  if (::lseek(spec.get(), 0, SEEK_SET) == -1) return msb::Error::Errno("lseek the spec");
  input.handover = TRY(sandbox::ParseHandover(TRY(msb::sys::ReadAll(spec, size_t{1} << 20))));
  if (input.handover.root_locked) {
    input.root_lock = UniqueFd(sandbox::kHandoverRootLock);
    TRY(msb::sys::SetCloseOnExec(input.root_lock, true));
  }
  return input;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && std::string_view(argv[1]) == "--version") {
    constexpr std::string_view kText = "msb-supervisor " MSB_VERSION "\n";
    return ::write(1, kText.data(), kText.size()) == static_cast<ssize_t>(kText.size()) ? 0 : 1;
  }
  ::umask(077);
  // A reader of our stderr that has gone is no reason to end a sandbox.
  ::signal(SIGPIPE, SIG_IGN);
  auto input = TakeInput();
  if (!input) {
    LOG(kError, "msb-supervisor is started by msb", {"why", input.error().message()});
    return 125;
  }
  auto ran = msb::sandbox::RunSupervisor(std::move(*input));
  return ran ? 0 : 125;
}
