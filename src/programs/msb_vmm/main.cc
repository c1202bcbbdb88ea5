// SPDX-License-Identifier: Apache-2.0
// msb-vmm: one machine on KVM. Started by msb-supervisor behind the walls of the jail, with
// descriptors at the numbers that its arguments name; it opens nothing.
//
// Exit code 0: the guest ended its machine. 1: anything else; stderr and the control socket say
// what.

#include <unistd.h>

#include <cstdlib>
#include <string_view>
#include <vector>

#include "base/text.h"
#include "event/loop.h"
#include "programs/msb_vmm/arguments.h"
#include "programs/msb_vmm/confine.h"
#include "programs/msb_vmm/control.h"
#include "programs/msb_vmm/limits.h"
#include "sys/file.h"
#include "vmm/machine/machine.h"

namespace {

using msb::Cat;
using msb::Error;
using msb::UniqueFd;
using msb::vmm::Outcome;

void SayOnStderr(std::string_view text) {
  std::string line = Cat("msb-vmm: ", text, "\n");
  [[maybe_unused]] ssize_t n = ::write(STDERR_FILENO, line.data(), line.size());
}

// Without destructors: the kernel takes the machine apart faster than we could.
[[noreturn]] void Leave(const Outcome& outcome, const msb::vmm::ControlSocket& control) {
  SayOnStderr(Cat(OutcomeName(outcome.kind), ": ", outcome.detail));
  control.SayEnd(outcome);
  std::_Exit(outcome.by_guest() ? 0 : 1);
}

Outcome Failed(Outcome::Kind kind, const Error& error) {
  return {kind,
          error.remedy().empty() ? error.message() : Cat(error.message(), "; ", error.remedy())};
}

template <class T>
T OrLeave(msb::Result<T> result, Outcome::Kind kind, const msb::vmm::ControlSocket& control) {
  if (!result) Leave(Failed(kind, result.error()), control);
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}

}  // namespace

int main(int argc, char** argv) {
  using Kind = Outcome::Kind;
  std::vector<std::string_view> words(argv + 1, argv + argc);
  if (words.size() == 1 && words[0] == "--version") {
    constexpr std::string_view kText = "msb-vmm " MSB_VERSION "\n";
    return ::write(1, kText.data(), kText.size()) == static_cast<ssize_t>(kText.size()) ? 0 : 1;
  }
  auto arguments = msb::vmm::ParseArguments(words);
  if (!arguments) {
    SayOnStderr(Cat(arguments.error().message(), "; ", arguments.error().remedy()));
    return 1;
  }
  msb::vmm::ControlSocket control(UniqueFd(arguments->control));

  UniqueFd upper(arguments->upper);
  auto disk = OrLeave(msb::sys::Stat(upper).Context("writable disk"), Kind::kBootFailed, control);
  OrLeave(msb::vmm::LimitProcess(static_cast<uint64_t>(disk.st_size)), Kind::kInternal, control);
  OrLeave(msb::vmm::ConfineStart(), Kind::kInternal, control);

  msb::vmm::RealKvmCalls calls;
  auto kvm =
      OrLeave(msb::vmm::Kvm::Create(UniqueFd(arguments->kvm), calls), Kind::kKvmError, control);
  auto vm = OrLeave(kvm.CreateVm(), Kind::kKvmError, control);

  auto loop = OrLeave(msb::event::Loop::Create(), Kind::kInternal, control);
  OrLeave(control.Watch(*loop,
                        [&] {
                          Leave({Kind::kInternal, "the supervisor has gone"}, control);
                        }),
          Kind::kInternal, control);
  msb::vmm::MachineFiles files{
      .kernel = UniqueFd(arguments->kernel),
      .initramfs = UniqueFd(arguments->initramfs),
      .devices = {.root = UniqueFd(arguments->root),
                  .upper = std::move(upper),
                  .agent = UniqueFd(arguments->agent),
                  .console = UniqueFd(arguments->console)},
  };
  msb::vmm::MachineHooks hooks{
      .events = {.channel = [&](bool open) { control.SayChannel(*loop, open); },
                 .storage_full = [&] { control.Say("storage-full"); }},
      .confine = msb::vmm::ConfineThread};
  auto machine = OrLeave(msb::vmm::Machine::Create(arguments->spec, std::move(vm), std::move(files),
                                                   std::move(hooks), *loop),
                         Kind::kBootFailed, control);
  OrLeave(machine->SetUpKvm(std::move(kvm)), Kind::kKvmError, control);

  OrLeave(msb::vmm::ConfineDeviceThread(), Kind::kInternal, control);
  control.Say("started");
  machine->Start();
  OrLeave(loop->Run(), Kind::kInternal, control);
  Leave(machine->ended().value_or(Outcome{Kind::kInternal, "the loop ended"}), control);
}
