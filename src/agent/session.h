// SPDX-License-Identifier: Apache-2.0
// What the agent says and does over its channel: hello, configuration, execs, and their bytes, over
// any number of connections. Knows nothing of machines: the same for a guest, a process sandbox and
// a test.

#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <string>

#include "agent/accounts.h"
#include "agent/exec.h"
#include "agent/exec_group.h"
#include "agent/link.h"
#include "agent/spawn.h"
#include "base/fd.h"
#include "base/result.h"
#include "event/loop.h"
#include "protocol/messages.h"

namespace msb::agent {

// Known to the agent at once, those whose end was not yet acknowledged by CLOSE included.
inline constexpr size_t kMaxExecs = 1024;

class Session final : public Link::Handler, public Exec::Host {
 public:
  // What the surroundings do for the session.
  class Machine {
   public:
    virtual ~Machine() = default;
    virtual protocol::Hello MakeHello() = 0;
    virtual void Configure(const protocol::MachineConfig& config) = 0;
    // The host wants the end of everything.
    virtual void Shutdown() = 0;
    // The connection ended; Attach() begins the next.
    virtual void Disconnected(const std::string& why) = 0;
  };

  Session(event::Loop& loop, Machine& machine, ExecGroups& groups, Accounts& accounts)
      : loop_(loop), machine_(machine), groups_(groups), accounts_(accounts), link_(loop, *this) {}

  // A new connection on a non-blocking descriptor: says hello at once.
  Result<void> Attach(UniqueFd channel);
  // The last frame; written as far as the host takes it.
  void Goodbye(std::string_view reason);
  // Everything said has been written.
  bool quiet() const { return link_.idle(); }
  void Detach() { link_.Detach(); }

  // From the reaper: any child of ours, and then the end of a round of them.
  void OnChildExit(pid_t pid, int wait_status, const struct rusage& usage);
  void Flush() override;

  size_t execs() const { return execs_.size(); }
  size_t drains() const { return drains_.size(); }

 private:
  struct Entry {
    std::unique_ptr<Exec> exec;
    bool queued = false;
  };
  struct Drain {
    UniqueFd fd;
    event::Loop::Registration watch;
  };

  // Link::Handler.
  Result<void> OnFrame(const protocol::Frame& frame) override;
  void OnBatch() override;
  void OnWritable() override;
  void OnEnded(const std::string& why) override;
  // Exec::Host.
  event::Loop& loop() override { return loop_; }
  Spawner& spawner() override { return spawner_; }
  ExecGroups& groups() override { return groups_; }
  void Ready(uint32_t id, bool soon) override;
  bool Crowded() const override;
  Result<Identity> FindIdentity(const std::string& user) override { return accounts_.Find(user); }

  Result<void> OnHello(const protocol::Frame& frame);
  Result<void> OnMachineFrame(const protocol::Frame& frame);
  Result<void> OnExecOpen(const protocol::Frame& frame);
  Result<void> OnExecFrame(Exec& exec, const protocol::Frame& frame);
  Result<void> OnExecCommand(Exec& exec, const protocol::Frame& frame);
  void Forget(Exec& exec);
  void SayHello();
  void Pump();
  void KeepDraining(UniqueFd fd);
  void ReadDrain(std::list<Drain>::iterator drain);

  event::Loop& loop_;
  Machine& machine_;
  ExecGroups& groups_;
  Accounts& accounts_;
  Link link_;
  Spawner spawner_;
  uint64_t epoch_ = 0;
  bool greeted_ = false;  // The host has said hello on this connection.
  std::map<uint32_t, Entry> execs_;
  std::map<pid_t, uint32_t> by_pid_;
  std::deque<uint32_t> ready_;  // Execs with something to send, in turn.
  bool urgent_ = false;
  event::Loop::Timer soon_;
  event::Loop::Timer sweep_;
  std::list<Drain> drains_;
  bool untidy_ = false;
};

}  // namespace msb::agent
