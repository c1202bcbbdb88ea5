// SPDX-License-Identifier: Apache-2.0
// The bytes of an exec: pipes and terminal to streams, streams to frames.

#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "agent/exec.h"
#include "agent/link.h"
#include "base/text.h"

namespace msb::agent {
namespace {

using protocol::kHeaderSize;
using protocol::kMaxBody;
using protocol::Type;

// Of a pipe, in one call and in one event of the loop.
constexpr size_t kReadPiece = 128 * 1024;
constexpr int kReadsPerRound = 2;
constexpr int kLargePipe = 1 << 20;
// What any user may have by default (pipe(7)); its pages are taken when they are written.
constexpr int kInputPipe = 64 * 1024;
// Waiting for a process that has read already.
constexpr size_t kWorthEnlarging = 8 * 1024;
// What a stream may hold although the agent holds too much in all. Held is what was not
// acknowledged, and a host that has consumed all of it acknowledges half a window at the earliest:
// with less, a stream whose reader reads would wait for a credit that is not due.
constexpr uint64_t kFairShare = protocol::kOutputWindow / 2;
// A write is not worth beginning a DATA frame of fewer bytes at its end.
constexpr size_t kSmallestPiece = 1024;

}  // namespace

uint64_t Exec::held() const {
  return outputs_[0].stream.held() + outputs_[1].stream.held() + input_.waiting.size();
}

void Exec::Watch(Output& output) {
  if (output.watched || !output.fd) return;
  auto watch = host_.loop().Watch(output.fd, event::Interest::kRead, [this, &output](event::Ready) {
    ReadOutput(output);
    host_.Flush();
  });
  // Fails for want of memory only; the next credit tries again.
  if (!watch.ok()) return;
  output.watch = *std::move(watch);
  output.watched = true;
}

void Exec::Unwatch(Output& output) {
  output.watch.Cancel();
  output.watched = false;
}

void Exec::ReadOutput(Output& output) {
  std::array<std::byte, 16384> thrown_away;
  bool full = false;
  for (int i = 0; i < kReadsPerRound && output.fd; ++i) {
    std::span<std::byte> space(thrown_away);
    if (!output.discard) {
      size_t max = kReadPiece;
      if (output.rest) max = static_cast<size_t>(std::min<uint64_t>(*output.rest, max));
      if (host_.Crowded())
        max = std::min(
            max, static_cast<size_t>(kFairShare - std::min(kFairShare, output.stream.held())));
      space = output.stream.Space(max);
      if (space.empty()) {
        full = true;
        break;
      }
    }
    ssize_t n = ::read(output.fd.get(), space.data(), space.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) {
      if (terminal_ && output.rest) FinishOutput(output);
      break;
    }
    if (n <= 0) {  // EIO: the last holder of the terminal is gone.
      Unwatch(output);
      // A terminal without any other end still takes what the host types.
      output.fd.Reset();
      FinishOutput(output);
      break;
    }
    if (output.discard) continue;
    auto count = static_cast<size_t>(n);
    output.stream.Filled(count);
    if (output.rest && (*output.rest -= count) == 0) FinishOutput(output);
    if (count < space.size()) break;
    // A writer that fills the pipe is worth a larger one.
    if (!terminal_ && !output.enlarged && count >= kMaxBody / 2) {
      output.enlarged = true;
      ::fcntl(output.fd.get(), F_SETPIPE_SZ, kLargePipe);
    }
  }
  bool silent = output.stream.closed() && !exit_;
  if (output.stream.Next(1) || output.stream.EofDue()) host_.Ready(id_, silent);
  // Not watched while there is no room: a hang-up is always reported, and would spin.
  if (full)
    Unwatch(output);
  else
    Watch(output);
}

void Exec::FinishOutput(Output& output) {
  output.stream.Close();
  output.discard = true;
}

void Exec::Discard(Output& output) {
  if (!output.used) return;
  output.discard = true;
  output.stream.Reset();
  Watch(output);
}

Result<void> Exec::OnCredit(uint8_t fd, uint64_t acked, uint64_t limit) {
  if (fd == 0) return Error(Code::kInvalidArgument, "credit for stdin from its sender");
  Output& output = outputs_[fd - 1u];
  TRY(output.stream.OnCredit(acked, limit));
  if (!output.used) return {};
  if (output.fd && !output.watched) ReadOutput(output);
  if (output.stream.Next(1) || output.stream.EofDue()) host_.Ready(id_, false);
  return {};
}

void Exec::OnReset(uint8_t fd) {
  if (fd == 0) return;
  Discard(outputs_[fd - 1u]);
  host_.Ready(id_, false);
}

Result<void> Exec::OnData(uint64_t offset, protocol::ByteSpan bytes) {
  if (!input_.used) return {};
  auto fresh = TRY(input_.stream.OnData(offset, bytes));
  if (input_.refused || fresh.empty()) return {};
  input_.waiting.insert(input_.waiting.end(), fresh.begin(), fresh.end());
  WriteInput();
  return {};
}

Result<void> Exec::OnEof(uint64_t offset) {
  if (!input_.used) return {};
  TRY(input_.stream.OnEof(offset));
  WriteInput();
  return {};
}

// What has left the pipe was read.
void Exec::CountRead() {
  int unread = 0;
  if (!input_.fd || terminal_ || ::ioctl(input_.fd.get(), FIONREAD, &unread) == -1) return;
  auto left = std::min(static_cast<size_t>(std::max(unread, 0)), input_.in_pipe);
  input_.stream.Consumed(input_.in_pipe - left);
  input_.in_pipe = left;
}

// A page a round trip is slow for a process that has more to come and reads it. Being writable then
// says little, so from here on inotify tells of the reads (IN_ACCESS of a pipe: since Linux 2.6.14;
// of splice() from it: 6.5). What cannot be had leaves the pipe as it is.
void Exec::EnlargeInput() {
  if (terminal_ || input_.reads) return;
  UniqueFd reads(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  std::string path = Cat("/proc/self/fd/", input_.fd.get());
  if (!reads || ::inotify_add_watch(reads.get(), path.c_str(), IN_ACCESS) == -1) return;
  if (::fcntl(input_.fd.get(), F_SETPIPE_SZ, kInputPipe) == -1) return;
  input_.reads = std::move(reads);
}

// Waits for room while there is more to write, else for the reading of what is in the pipe.
void Exec::WatchInput() {
  bool by_reads = input_.reads && input_.waiting.empty();
  // Without an interest, its errors: the process has closed its end.
  auto watch =
      host_.loop().Watch(input_.fd, by_reads ? event::Interest::kNone : event::Interest::kWrite,
                         [this](event::Ready ready) { OnInputReady(ready); });
  if (watch.ok()) input_.watch = *std::move(watch);
  if (!by_reads) return;
  auto reads = host_.loop().Watch(input_.reads, event::Interest::kRead,
                                  [this](event::Ready) { OnInputReady({}); });
  if (reads.ok()) input_.reads_watch = *std::move(reads);
}

void Exec::OnInputReady(event::Ready ready) {
  input_.watch.Cancel();
  input_.reads_watch.Cancel();
  if (ready.hangup && !terminal_) {
    RefuseInput();
  } else {
    // Before the count: a read in between is told again.
    std::array<std::byte, 1024> seen;
    if (input_.reads)
      while (::read(input_.reads.get(), seen.data(), seen.size()) > 0) continue;
    WriteInput();
  }
  host_.Flush();
}

bool Exec::CreditOwed() const {
  return input_.used && input_.stream.consumed() > input_.credited &&
         (input_.refused || input_.stream.consumed() == input_.stream.received());
}

void Exec::WriteInput() {
  CountRead();
  if (input_.stream.consumed() > 0 && input_.waiting.size() - input_.written >= kWorthEnlarging)
    EnlargeInput();
  while (input_.fd && input_.written < input_.waiting.size()) {
    auto rest = std::span(input_.waiting).subspan(input_.written);
    ssize_t n = ::write(input_.fd.get(), rest.data(), rest.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) break;
    if (n < 0) return RefuseInput();
    input_.last = rest[static_cast<size_t>(n) - 1];
    input_.written += static_cast<size_t>(n);
    if (terminal_)
      input_.stream.Consumed(static_cast<uint64_t>(n));  // Nobody can say when it is read.
    else
      input_.in_pipe += static_cast<size_t>(n);
  }
  if (input_.written == input_.waiting.size()) {
    input_.waiting.clear();
    input_.written = 0;
    if (input_.fd && input_.stream.ended()) {
      if (terminal_) SendTerminalEof();
      CloseInput();
    }
  } else if (input_.written > protocol::kDefaultWindow / 2) {
    input_.waiting.erase(input_.waiting.begin(),
                         input_.waiting.begin() + static_cast<ptrdiff_t>(input_.written));
    input_.written = 0;
  }
  if (input_.fd && (input_.in_pipe > 0 || !input_.waiting.empty())) WatchInput();
  if (input_.stream.CreditDue() || CreditOwed()) host_.Ready(id_, false);
}

// What a person types for it: the VEOF character, twice when a line is begun.
void Exec::SendTerminalEof() {
  termios settings;
  if (::tcgetattr(input_.fd.get(), &settings) == -1 || (settings.c_lflag & ICANON) == 0) return;
  std::array<cc_t, 2> eof = {settings.c_cc[VEOF], settings.c_cc[VEOF]};
  [[maybe_unused]] ssize_t n =
      ::write(input_.fd.get(), eof.data(), input_.last == std::byte{'\n'} ? 1 : 2);
}

void Exec::CloseInput() {
  input_.watch.Cancel();
  input_.reads_watch.Cancel();
  input_.reads.Reset();
  input_.fd.Reset();
  input_.waiting = {};
  input_.written = 0;
  input_.in_pipe = 0;
}

void Exec::RefuseInput() {
  CountRead();
  CloseInput();
  input_.refused = true;
  input_.reset_due = true;
  host_.Ready(id_, false);
}

bool Exec::OutputsSent() const {
  return std::all_of(outputs_.begin(), outputs_.end(),
                     [](const Output& output) { return !output.used || output.stream.done(); });
}

bool Exec::ProduceOutput(Link& link, uint8_t fd) {
  Output& output = outputs_[fd - 1u];
  if (!output.used) return false;
  size_t room = link.RoomInWrite();
  size_t max = room >= kHeaderSize + kSmallestPiece ? room - kHeaderSize : kMaxBody;
  if (auto chunk = output.stream.Next(std::min(max, kMaxBody))) {
    link.SendFramed({.type = Type::kData, .fd = fd, .exec = id_, .offset = chunk->offset},
                    output.stream.Framed(*chunk));
    output.stream.Sent(chunk->bytes.size());
    if (output.stream.Next(1)) return true;
  }
  if (auto end = output.stream.EofDue()) {
    link.Send({.type = Type::kEof, .fd = fd, .exec = id_, .offset = *end});
    output.stream.EofSent();
  }
  return false;
}

bool Exec::Produce(Link& link) {
  if (failed_) {
    if (!end_sent_) link.Send({.type = Type::kExecFailed, .exec = id_}, protocol::Encode(*failed_));
    end_sent_ = true;
    return false;
  }
  if (!started_sent_) {
    link.Send({.type = Type::kExecStarted, .exec = id_},
              protocol::Encode(protocol::ExecStarted{.pid = shown_pid_}));
    started_sent_ = true;
  }
  bool more_room = input_.used && !input_.refused && input_.stream.CreditDue();
  if (more_room || CreditOwed()) {
    uint64_t consumed = input_.stream.consumed();
    link.Send({.type = Type::kCredit, .fd = 0, .exec = id_, .offset = consumed},
              protocol::EncodeU64(consumed + protocol::kDefaultWindow));
    input_.stream.CreditSent();
    input_.credited = consumed;
  }
  if (input_.reset_due) {
    link.Send({.type = Type::kReset, .fd = 0, .exec = id_});
    input_.reset_due = false;
  }
  // One frame a turn, the two outputs in turn: nobody waits for a flood on the other.
  next_output_ ^= 1;
  bool more = false;
  for (unsigned i = 0; i < 2; ++i) {
    uint8_t fd = static_cast<uint8_t>(1 + ((next_output_ + i) & 1));
    if (more && outputs_[fd - 1u].stream.Next(1)) break;
    more |= ProduceOutput(link, fd);
  }
  if (exit_ && !end_sent_ && OutputsSent()) {
    link.Send({.type = Type::kExecExit, .exec = id_}, protocol::Encode(*exit_));
    end_sent_ = true;
  }
  return more || outputs_[0].stream.Next(1) || outputs_[1].stream.Next(1);
}

}  // namespace msb::agent
