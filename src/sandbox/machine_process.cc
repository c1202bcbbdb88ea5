// SPDX-License-Identifier: Apache-2.0
#include "sandbox/machine_process.h"

#include <cerrno>

#include "base/bytes.h"
#include "base/text.h"
#include "sys/file.h"

namespace msb::sandbox {
namespace {

constexpr size_t kStderrTail = 2048;
constexpr size_t kShownTail = 400;

}  // namespace

Result<void> MachineProcess::Watch(event::Loop& loop,
                                   std::function<void(const MachineEnd&)> on_end) {
  on_end_ = std::move(on_end);
  stderr_watch_ = TRY(loop.Watch(process_.stderr_pipe, event::Interest::kRead,
                                 [this](event::Ready) { DrainStderr(); }));
  exit_watch_ =
      TRY(loop.Watch(process_.pidfd, event::Interest::kRead, [this](event::Ready) { OnEnded(); }));
  return {};
}

MachineFacts MachineProcess::Facts() const {
  const jail::JailFacts& facts = process_.facts;
  return {facts.walls, facts.limits, facts.ids, facts.uid};
}

void MachineProcess::DrainStderr() {
  std::byte buffer[4096];
  // Not to the end of what a machine that never stops may say: the loop has other work.
  for (int round = 0; round < 16; round++) {
    auto count = sys::ReadSome(process_.stderr_pipe, buffer);
    if (!count && count.error().sys_errno() == EAGAIN) return;
    if (!count || *count == 0) {
      stderr_watch_.Cancel();
      return;
    }
    stderr_tail_ += AsText(std::span(buffer).first(*count));
    if (stderr_tail_.size() > kStderrTail) stderr_tail_.erase(0, stderr_tail_.size() - kStderrTail);
  }
}

void MachineProcess::OnEnded() {
  exit_watch_.Cancel();
  DrainStderr();
  auto exit = jail::ReapJailed(process_);
  // The last act: the handler may end us, and with us the function that it is.
  auto on_end = std::move(on_end_);
  on_end(Describe(exit));
}

MachineEnd MachineProcess::Describe(const Result<jail::JailExit>& exit) const {
  MachineEnd end;
  if (!exit) {
    end.detail = exit.error().message();
  } else if (exit->how == jail::JailExit::How::kKilledWithJail) {
    end.detail = Cat(name_, " was killed with its jail");
  } else if (exit->how == jail::JailExit::How::kSignaled) {
    end.detail = Cat(name_, " was killed by signal ", exit->value);
  } else if (exit->value == 0) {
    end.by_guest = true;
    end.detail = "the guest reset or powered off without a goodbye";
  } else {
    end.detail = Cat(name_, " exited with code ", exit->value);
  }
  std::string_view said = stderr_tail_;
  while (!said.empty() && said.back() == '\n') said.remove_suffix(1);
  if (said.empty() || end.by_guest) return end;
  if (said.size() > kShownTail) said.remove_prefix(said.size() - kShownTail);
  end.detail += Cat("; it said: ", Escape(said, kShownTail));
  return end;
}

}  // namespace msb::sandbox
