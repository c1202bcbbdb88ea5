// SPDX-License-Identifier: Apache-2.0
// How a session ended: as an exit code, and as a sentence.

#include <signal.h>

#include "base/text.h"
#include "programs/msb/session.h"

namespace msb::cli {

namespace {

int CodeOfOutcome(const sandbox::Outcome& outcome, bool hello_seen) {
  // A sandbox that was stopped under a program: the program was killed.
  if (outcome.kind == sandbox::OutcomeKind::kStopped) return hello_seen ? 128 + SIGKILL : 125;
  return outcome.ExitCode();
}

Error ExplainOutcome(const sandbox::Outcome& outcome) {
  using sandbox::OutcomeKind;
  std::string detail = outcome.detail.empty() ? "" : Cat(": ", outcome.detail);
  switch (outcome.kind) {
    case OutcomeKind::kOutOfMemory:
      return Error(Code::kResourceExhausted, Cat("out of memory", detail))
          .Remedy("give it more with --memory SIZE");
    case OutcomeKind::kTimeout:
      return Error(Code::kDeadlineExceeded, Cat("timeout", detail))
          .Remedy("give it longer with --timeout DURATION");
    case OutcomeKind::kStopped:
      return Error(Code::kUnavailable, Cat("the sandbox was stopped", detail));
    case OutcomeKind::kBootFailed:
      return Error(Code::kUnavailable, Cat("boot failed", detail))
          .Remedy(
              "--debug-console shows what the guest said; if every start ends so, its files are "
              "damaged: run tools/install again; if only this image's do, import it again");
    case OutcomeKind::kMachineDied:
      return Error(Code::kUnavailable, Cat("the machine died", detail));
    case OutcomeKind::kHostStorageFull:
      return Error(Code::kResourceExhausted, Cat("host storage full", detail))
          .Remedy("make room below $MICROSANDBOX_HOME, or ask for less with --storage SIZE");
    case OutcomeKind::kSupervisorDied:
      return Error(Code::kUnavailable, Cat("the supervisor died", detail));
    case OutcomeKind::kExited:
    case OutcomeKind::kSignaled:
      break;
  }
  return Error(Code::kUnavailable, Cat("the sandbox ended", detail));
}

Error ExplainFailure(const protocol::ExecFailed& failed) {
  std::string message = Escape(failed.message);
  switch (failed.reason) {
    case protocol::FailReason::kCommandNotFound:
      return Error(Code::kNotFound, message)
          .Remedy("name a program that the image has, or give its path inside");
    case protocol::FailReason::kNotExecutable:
      return Error(Code::kPermissionDenied, message)
          .Remedy("make it executable in the image, or start it by its interpreter");
    case protocol::FailReason::kUnknownUser:
      return Error(Code::kNotFound, message)
          .Remedy("use a user of the image's /etc/passwd, or numbers: --user 1000:1000");
    case protocol::FailReason::kBadWorkdir:
      return Error(Code::kNotFound, message)
          .Remedy("use a directory that the image has: --workdir DIR");
    case protocol::FailReason::kResources:
      return Error(Code::kResourceExhausted, message).Remedy("give it more with --memory SIZE");
    case protocol::FailReason::kInternal:
      break;
  }
  return Error(Code::kInternal, message);
}

}  // namespace

int ExitCode(const SessionEnd& end) {
  if (end.interrupted_by != 0) return 128 + end.interrupted_by;
  // As other tools do: what was asked for did not reach the caller. The program, which we hung up
  // then, may say anything.
  if (end.output_lost) return kExitFailed;
  if (end.exit) return sandbox::ToOutcome(*end.exit).ExitCode();
  if (end.failed) return sandbox::ExitCode(*end.failed);
  if (end.error) return end.started ? kExitMachineDied : kExitNotStarted;
  if (end.outcome) return CodeOfOutcome(*end.outcome, end.hello_seen);
  return end.hello_seen ? kExitMachineDied : kExitNotStarted;
}

std::optional<Error> Explain(const SessionEnd& end) {
  if (end.interrupted_by != 0) return std::nullopt;
  if (end.output_lost) return Error(end.output_lost->code(), end.output_lost->message());
  if (end.exit) {
    if (end.exit->kind != protocol::ExitKind::kOutOfMemory) return std::nullopt;
    return ExplainOutcome({.kind = sandbox::OutcomeKind::kOutOfMemory,
                           .detail = "the guest's kernel killed the program"});
  }
  if (end.failed) return ExplainFailure(*end.failed);
  if (end.error) {
    Error copy(end.error->code(), end.error->message());
    return std::move(copy).Remedy(end.error->remedy());
  }
  if (end.outcome) return ExplainOutcome(*end.outcome);
  return Error(Code::kUnavailable, "the supervisor ended without a word")
      .Remedy("run: msb doctor; then msb gc removes what is left");
}

}  // namespace msb::cli
