// SPDX-License-Identifier: Apache-2.0
// Output of the main command into its logs.

#include "sandbox/main_exec.h"

#include "base/log.h"
#include "base/text.h"

namespace msb::sandbox {

Result<std::unique_ptr<MainExec>> MainExec::Start(event::Loop& loop, UniqueFd socket,
                                                  BorrowedFd record_dir,
                                                  const protocol::ExecSpec& spec,
                                                  std::function<void(Outcome)> on_end) {
  auto out = TRY(LogFile::Create(record_dir, "stdout.log"));
  auto err = TRY(LogFile::Create(record_dir, "stderr.log"));
  std::unique_ptr<MainExec> made(new MainExec(std::move(out), std::move(err), std::move(on_end)));
  made->client_ = TRY(Client::Create(loop, std::move(socket), *made));
  made->client_->OpenExec(spec);
  return made;
}

void MainExec::OnOutput(uint32_t exec, int fd, std::span<const std::byte> bytes) {
  auto written = logs_[fd - 1].Append(bytes);
  // A full host costs log lines, not the command: said once.
  if (!written && !log_failed_) {
    log_failed_ = true;
    LOG(kWarn, "output is not logged any more", {"why", written.error().message()});
  }
  client_->Consumed(exec, fd, bytes.size());
}

void MainExec::OnFailed(uint32_t, const protocol::ExecFailed& failed) {
  // As a shell would end: the command's own code, and why in the detail.
  on_end_(
      {.kind = OutcomeKind::kExited, .code = ExitCode(failed), .detail = Escape(failed.message)});
}

void MainExec::OnExit(uint32_t, const protocol::ExecExit& exit) { on_end_(ToOutcome(exit)); }

void MainExec::OnError(uint32_t, Error error) {
  on_end_({.kind = OutcomeKind::kExited, .code = 125, .detail = error.message()});
}

}  // namespace msb::sandbox
