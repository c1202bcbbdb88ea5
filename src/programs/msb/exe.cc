// SPDX-License-Identifier: Apache-2.0
// msb exe: a new sandbox from an image or a tree, one program in it, and no trace.

#include <fcntl.h>
#include <signal.h>

#include "base/text.h"
#include "programs/msb/commands.h"
#include "programs/msb/detach.h"
#include "programs/msb/finish.h"
#include "programs/msb/isolation.h"
#include "programs/msb/program_spec.h"
#include "programs/msb/root.h"
#include "programs/msb/session.h"
#include "programs/msb/status_report.h"
#include "programs/msb/ui.h"
#include "sandbox/probe.h"
#include "sandbox/sandboxes.h"
#include "sys/process.h"

namespace msb::cli {

namespace {

struct Prepared {
  sandbox::Home home;
  sandbox::SandboxSpec spec;
  protocol::ExecSpec exec;
  bool has_command;  // Said by the user: the image's own would end a detached sandbox at once.
  Root root;
  sandbox::Parts parts;
  std::string note;
};

Result<Prepared> Prepare(const ExeOptions& options) {
  TRY(CheckStatusFd(options.program));
  if (options.image.empty() && !options.rootfs)
    return Error(Code::kInvalidArgument, "msb exe: no image was named")
        .Remedy("run: msb exe IMAGE -- COMMAND; msb image list shows what is here");
  // With --rootfs there is no image, and the first word is the command's.
  ProgramOptions program = options.program;
  if (options.rootfs && !options.image.empty())
    program.command.insert(program.command.begin(), options.image);
  auto spec = TRY(MakeSandboxSpec(options));
  auto home = TRY(sandbox::Home::Open());
  sandbox::Reconcile(home);
  RemoveDeadTrees(home);
  auto choice = TRY(ChooseIsolation(home.dir(), options.isolation, options.required, sys::GetEnv));
  spec.isolation = choice.isolation;
  auto parts = TRY(sandbox::FindParts(spec.isolation));
  Root root = options.rootfs ? TRY(MakeRoot(home, *options.rootfs, spec.isolation))
                             : TRY(FindRoot(home, options.image, spec.isolation));
  spec.image = options.rootfs ? "" : root.image;
  spec.image_digest = root.digest;
  auto exec = TRY(MakeExecSpec(program, root.config, CurrentSurroundings()));
  bool has_command = !program.command.empty();
  if (!options.detach) spec.command = Escape(Join(exec.argv, " "), 512);
  return Prepared{std::move(home), std::move(spec),  std::move(exec), has_command,
                  std::move(root), std::move(parts), choice.note};
}

int RunAttached(const ExeOptions& options, Prepared& prepared, Clock::time_point began) {
  Format format = options.program.json ? Format::kJson : Format::kText;
  auto socket = sandbox::Start(prepared.home, prepared.spec, prepared.root.source, prepared.parts);
  if (!socket) {
    ReportError(options.program, socket.error());
    return Fail(socket.error(), format, kExitNotStarted);
  }
  auto end = Session::Run(*std::move(socket),
                          {.exec = prepared.exec,
                           .role = Role::kOwner,
                           .quiet = options.program.quiet,
                           .format = format,
                           .waiting_text = Cat("starting ", prepared.root.image, " ...")});
  if (!end) {
    ReportError(options.program, end.error());
    return Fail(end.error(), format, kExitNotStarted);
  }
  // Finish() may end us by a signal.
  prepared.root.own_tree.reset();
  return Finish(options.program, *end, began);
}

}  // namespace

int RunExe(const ExeOptions& options) {
  Clock::time_point began = Clock::now();
  Format format = options.program.json ? Format::kJson : Format::kText;
  auto prepared = Prepare(options);
  if (!prepared) {
    ReportError(options.program, prepared.error());
    return Fail(prepared.error(), format, kExitNotStarted);
  }
  if (!prepared->note.empty() && !options.program.quiet) Notice(prepared->note, format);
  if (!options.detach) return RunAttached(options, *prepared, began);
  if (prepared->has_command) {
    prepared->exec.stdin_open = false;
    prepared->exec.terminal = options.program.terminal == TerminalMode::kAlways;
    prepared->spec.main = prepared->exec;
  }
  auto socket =
      sandbox::Start(prepared->home, prepared->spec, prepared->root.source, prepared->parts);
  if (!socket) {
    ReportError(options.program, socket.error());
    return Fail(socket.error(), format, kExitNotStarted);
  }
  // Its supervisor holds it, and may live on whatever becomes of us from here.
  if (auto& tree = prepared->root.own_tree) {
    std::move(*tree).Leave();
    tree.reset();
  }
  prepared->root.source = {};
  int code = FinishDetached(options, *std::move(socket));
  if (code != 0) RemoveDeadTrees(prepared->home);
  return code;
}

}  // namespace msb::cli
