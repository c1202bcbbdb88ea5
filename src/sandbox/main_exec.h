// SPDX-License-Identifier: Apache-2.0
// The main command of a detached sandbox: a client of the supervisor's own relay whose output goes
// to log files.

#pragma once

#include <functional>
#include <memory>

#include "base/fd.h"
#include "sandbox/client.h"
#include "sandbox/log_file.h"
#include "sandbox/outcome.h"

namespace msb::sandbox {

class MainExec : private Client::Listener {
 public:
  // `socket` is the other end of a connection of the relay. `on_end` is called once.
  static Result<std::unique_ptr<MainExec>> Start(event::Loop& loop, UniqueFd socket,
                                                 BorrowedFd record_dir,
                                                 const protocol::ExecSpec& spec,
                                                 std::function<void(Outcome)> on_end);

 private:
  MainExec(LogFile out, LogFile err, std::function<void(Outcome)> on_end)
      : logs_{std::move(out), std::move(err)}, on_end_(std::move(on_end)) {}
  void OnFailed(uint32_t exec, const protocol::ExecFailed& failed) override;
  void OnOutput(uint32_t exec, int fd, std::span<const std::byte> bytes) override;
  void OnExit(uint32_t exec, const protocol::ExecExit& exit) override;
  void OnOutcome(const Outcome&, const std::string&) override {}
  void OnError(uint32_t exec, Error error) override;
  void OnClosed() override {}

  LogFile logs_[2];
  std::function<void(Outcome)> on_end_;
  std::unique_ptr<Client> client_;
  bool log_failed_ = false;
};

}  // namespace msb::sandbox
