// SPDX-License-Identifier: Apache-2.0
// One exec: its main process, the bytes between it and the host, and its end.
//
//   Open -> failed: EXEC_FAILED, then CLOSE
//        -> running -> exited (reaped) -> drained: EOFs, EXEC_EXIT, then CLOSE
//
// Everything runs on the loop's thread. Frames go out through Produce(), which the session calls in
// turn for every exec that has something to say.

#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "agent/exec_group.h"
#include "agent/spawn.h"
#include "base/fd.h"
#include "event/loop.h"
#include "protocol/messages.h"
#include "protocol/stream.h"

namespace msb::agent {

class Link;

class Exec {
 public:
  // What an exec needs of its surroundings.
  class Host {
   public:
    virtual ~Host() = default;
    virtual event::Loop& loop() = 0;
    virtual Spawner& spawner() = 0;
    virtual ExecGroups& groups() = 0;
    // There is something to send. `soon` may wait a moment for more to go with it.
    virtual void Ready(uint32_t id, bool soon) = 0;
    // The end of an event: sends what is ready.
    virtual void Flush() = 0;
    // Too much is held for readers that do not read: a stream that holds plenty must wait.
    virtual bool Crowded() const = 0;
    virtual Result<Identity> FindIdentity(const std::string& user) = 0;
  };

  Exec(uint32_t id, Host& host) : id_(id), host_(host) {}
  ~Exec();

  // Starts the process, or becomes failed.
  void Open(const protocol::ExecSpec& spec);
  // Becomes failed without trying.
  void Refuse(protocol::FailReason reason, int error, std::string message);

  // The main process was reaped.
  void OnReaped(int wait_status, const struct rusage& usage);

  Result<void> OnData(uint64_t offset, protocol::ByteSpan bytes);
  Result<void> OnEof(uint64_t offset);
  Result<void> OnCredit(uint8_t fd, uint64_t acked, uint64_t limit);
  void OnReset(uint8_t fd);
  void Signal(int signal);
  void Resize(const protocol::TerminalSize& size);
  void Kill();
  void Hangup();

  // Everything unacknowledged is to be sent again.
  void Rewind();
  // EXEC_STARTED, EXEC_FAILED and EXEC_EXIT are to be sent again.
  void RepeatAnswer();
  // Puts frames into `link` until it is full or this exec has no more; true when it has more.
  bool Produce(Link& link);

  uint32_t id() const { return id_; }
  // 0 when there is no process to wait for.
  pid_t pid() const { return pid_; }
  // There is an answer that ends it: CLOSE may come.
  bool ended() const { return failed_.has_value() || exit_.has_value(); }
  uint64_t held() const;

  // Pipes that descendants hold beyond the end of their exec: to be read and thrown away.
  std::vector<UniqueFd> TakeDrains();

 private:
  struct Output {
    UniqueFd fd;
    event::Loop::Registration watch;
    protocol::SendStream stream;
    bool used = false;  // A terminal has no fd 2.
    bool watched = false;
    bool discard = false;  // Nobody wants it: read and thrown away.
    bool enlarged = false;
    // After the exit of the main process: how many bytes are its own.
    std::optional<uint64_t> rest;
  };
  struct Input {
    UniqueFd fd;
    event::Loop::Registration watch;
    protocol::ReceiveStream stream;
    std::vector<std::byte> waiting;
    size_t written = 0;  // Of `waiting`.
    // Of a pipe: written, and not yet seen to be read. Only what was read is acknowledged, so that
    // the caller keeps the rest of its stdin.
    size_t in_pipe = 0;
    // Of an enlarged pipe: inotify(7), which tells of each read.
    UniqueFd reads;
    event::Loop::Registration reads_watch;
    uint64_t credited = 0;  // Consumed bytes that the host knows of.
    std::byte last{'\n'};
    bool used = false;
    bool refused = false;  // The process does not read any more.
    bool reset_due = false;
  };

  struct ChildEnds {
    UniqueFd in, out, err;
  };
  Result<ChildEnds> MakePipes(const protocol::ExecSpec& spec);
  Result<ChildEnds> MakeTerminal(const protocol::ExecSpec& spec, const Identity& identity);
  void Run(const protocol::ExecSpec& spec, Identity identity, ChildEnds ends);

  void Watch(Output& output);
  void Unwatch(Output& output);
  void ReadOutput(Output& output);
  // Its last byte for the host is in the stream.
  void FinishOutput(Output& output);
  void DrainAtExit(Output& output);
  void Discard(Output& output);

  void WriteInput();
  void CountRead();
  void EnlargeInput();
  void WatchInput();
  void OnInputReady(event::Ready ready);
  // Everything that came was read, and the host does not know it.
  bool CreditOwed() const;
  void CloseInput();
  void RefuseInput();
  void SendTerminalEof();

  bool OutputsSent() const;
  bool ProduceOutput(Link& link, uint8_t fd);

  uint32_t id_;
  Host& host_;
  pid_t pid_ = 0;
  uint32_t shown_pid_ = 0;
  bool terminal_ = false;
  std::unique_ptr<ExecGroup> group_;
  // Of a terminal: held until the main process is reaped, so that closing 0, 1 and 2 in between
  // does not end it.
  UniqueFd terminal_slave_;
  std::array<Output, 2> outputs_;  // fd 1 and 2.
  Input input_;
  Clock::time_point spawned_at_;
  std::optional<protocol::ExecFailed> failed_;
  std::optional<protocol::ExecExit> exit_;
  bool started_sent_ = false;
  bool end_sent_ = false;
  uint8_t next_output_ = 0;
};

}  // namespace msb::agent
