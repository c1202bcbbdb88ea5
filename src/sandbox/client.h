// SPDX-License-Identifier: Apache-2.0
// Client: one control connection to a supervisor, on an event loop. Used by msb, and by the server.
//
//   start: Start() -> Client -> OnReady (hello of the agent) -> ... -> OnOutcome -> OnClosed
//   later: Connect() -> Client -> ...
// Execs opened before OnReady are queued by the supervisor; nothing needs waiting for.
// Everything is called on the loop's thread. Destroying the Client closes the connection: its execs
// get SIGHUP, and an attached sandbox that it started stops.

#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "event/loop.h"
#include "protocol/messages.h"
#include "sandbox/outcome.h"

namespace msb::sandbox {

class Client {
 public:
  class Listener {
   public:
    virtual ~Listener() = default;
    virtual void OnReady(const std::string& record_json) { (void)record_json; }
    virtual void OnStarted(uint32_t exec, uint32_t guest_pid) { (void)exec, (void)guest_pid; }
    virtual void OnFailed(uint32_t exec, const protocol::ExecFailed& failed) = 0;
    // `fd` is 1 or 2. The bytes count against the credit until Consumed() is called for them.
    virtual void OnOutput(uint32_t exec, int fd, std::span<const std::byte> bytes) = 0;
    virtual void OnOutputEnd(uint32_t exec, int fd) { (void)exec, (void)fd; }
    // After all output. The exec is forgotten by both sides.
    virtual void OnExit(uint32_t exec, const protocol::ExecExit& exit) = 0;
    // StdinRoom() or StdinConsumed() has grown.
    virtual void OnStdinRoom(uint32_t exec) { (void)exec; }
    // Nobody in the guest reads the exec's stdin any more.
    virtual void OnStdinGone(uint32_t exec) { (void)exec; }
    virtual void OnStatus(const std::string& record_json) { (void)record_json; }
    // A piece of the answer to RequestConsole(); empty: that was all.
    virtual void OnConsole(std::span<const std::byte> bytes) { (void)bytes; }
    // The agent's answer to Ping().
    virtual void OnPong(std::span<const std::byte> body) { (void)body; }
    // The sandbox has ended and everything of it is cleaned up.
    virtual void OnOutcome(const Outcome& outcome, const std::string& record_json) = 0;
    // A request was refused: exec 0 is the sandbox itself, then OnClosed follows.
    virtual void OnError(uint32_t exec, Error error) = 0;
    // The connection has ended; after OnOutcome this is expected, before it the supervisor died.
    virtual void OnClosed() = 0;
  };

  // `socket` is a connected control socket; `listener` outlives the Client.
  static Result<std::unique_ptr<Client>> Create(event::Loop& loop, UniqueFd socket,
                                                Listener& listener);
  virtual ~Client() = default;

  // The id of the new exec on this connection.
  virtual uint32_t OpenExec(const protocol::ExecSpec& spec) = 0;
  // Bytes of stdin that may be written now; 0 before the guest has granted credit.
  virtual size_t StdinRoom(uint32_t exec) const = 0;
  virtual void WriteStdin(uint32_t exec, std::span<const std::byte> bytes) = 0;
  virtual void CloseStdin(uint32_t exec) = 0;
  // Bytes of stdin that the process has read, as far as the guest has said: all of them by the time
  // of OnExit, where it is asked in the last OnStdinRoom.
  virtual uint64_t StdinConsumed(uint32_t exec) const = 0;
  virtual void Consumed(uint32_t exec, int fd, size_t bytes) = 0;
  virtual void Signal(uint32_t exec, int signal) = 0;
  virtual void Resize(uint32_t exec, protocol::TerminalSize size) = 0;
  virtual void Kill(uint32_t exec) = 0;
  virtual void RequestStatus() = 0;
  virtual void RequestConsole() = 0;
  virtual void Ping(std::span<const std::byte> body) = 0;
  virtual void Stop(std::chrono::milliseconds grace) = 0;
  virtual void KillMachine() = 0;

 protected:
  Client() = default;
};

}  // namespace msb::sandbox
