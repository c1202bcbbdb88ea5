// SPDX-License-Identifier: Apache-2.0
// msb exec and msb shell: one more program in a running sandbox.

#include "base/text.h"
#include "image/store/store.h"
#include "programs/msb/commands.h"
#include "programs/msb/finish.h"
#include "programs/msb/program_spec.h"
#include "programs/msb/session.h"
#include "programs/msb/status_report.h"
#include "programs/msb/ui.h"
#include "sandbox/sandboxes.h"

namespace msb::cli {

namespace {

// What the sandbox's image wishes still holds for later programs, as far as the image is here.
store::ImageConfig ConfigOf(const sandbox::Home& home, const std::string& image) {
  store::ImageConfig none;
  if (image.empty()) return none;
  auto reference = store::Reference::Parse(image);
  auto store = store::Store::Open(home.dir());
  if (!reference || !store) return none;
  auto found = store->Find(*reference);
  return found && *found ? (*found)->config : none;
}

struct Connected {
  UniqueFd socket;
  protocol::ExecSpec exec;
};

Result<Connected> ConnectTo(const std::string& sandbox, const ProgramOptions& program) {
  TRY(CheckStatusFd(program));
  auto home = TRY(sandbox::Home::Open());
  auto record = TRY(sandbox::FindSandbox(home, sandbox));
  auto config = ConfigOf(home, record.image);
  auto exec = TRY(MakeExecSpec(program, config, CurrentSurroundings()));
  auto socket = TRY(sandbox::Connect(home, record));
  return Connected{std::move(socket), std::move(exec)};
}

int RunIn(const std::string& sandbox, const ProgramOptions& program) {
  Clock::time_point began = Clock::now();
  Format format = program.json ? Format::kJson : Format::kText;
  auto fail = [&](const Error& error) {
    ReportError(program, error);
    return Fail(error, format, kExitNotStarted);
  };
  auto connected = ConnectTo(sandbox, program);
  if (!connected) return fail(connected.error());
  auto end =
      Session::Run(std::move(connected->socket), {.exec = std::move(connected->exec),
                                                  .role = Role::kGuest,
                                                  .quiet = program.quiet,
                                                  .format = format,
                                                  .waiting_text = "waiting for the machine"});
  if (!end) return fail(end.error());
  return Finish(program, *end, began);
}

}  // namespace

int RunExec(const ExecOptions& options) {
  if (options.program.command.empty()) {
    Error error = Error(Code::kInvalidArgument, "msb exec: no command was named")
                      .Remedy(Cat("run: msb exec ", options.sandbox, " -- COMMAND, or msb shell ",
                                  options.sandbox));
    return Fail(error, options.program.json ? Format::kJson : Format::kText, kExitNotStarted);
  }
  return RunIn(options.sandbox, options.program);
}

int RunShell(const ShellOptions& options) {
  if (auto home = sandbox::Home::Open()) sandbox::Reconcile(*home);
  ProgramOptions program = options.program;
  if (program.command.empty()) program.command = ShellCommand();
  return RunIn(options.sandbox, program);
}

}  // namespace msb::cli
