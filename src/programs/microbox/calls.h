// SPDX-License-Identifier: Apache-2.0
// The system calls of one run: the policy that its options and its profile make, and those that it
// refuses, where they are to be seen (--log-denied) or learnt (--learn).

#pragma once

#include <poll.h>

#include <memory>
#include <optional>
#include <string>

#include "base/deadline.h"
#include "base/fd.h"
#include "base/result.h"
#include "jail/box/call_policy.h"
#include "jail/box/refusals.h"
#include "programs/microbox/options.h"
#include "programs/microbox/profile_file.h"
#include "sys/seccomp.h"

namespace msb::microbox {

class Calls {
 public:
  // Puts the filter, which it owns, into the options' spec.
  static Result<Calls> Make(Options& options);

  // After the start: what the filter asks by; nothing where it does not ask. `live`: each kind is
  // told when it is first seen, and not only at the end.
  void Begin(UniqueFd listener, bool live);

  // What to wait for (fd -1: nothing), and how long at most; both as poll() takes them.
  pollfd Prepare() const;
  int Timeout(int timeout) const;
  // Answers those who wait, a bounded number of them: nobody can take all of our time.
  void Serve(const pollfd& waited);

  // At the end: what was refused how often, on stderr; what was learnt, into its file.
  Result<void> Finish() const;
  // nullopt: nobody wanted to see it.
  const std::optional<box::RefusalTable>& refused() const { return refused_; }
  // Whether the command may make sockets that the default policy refuses: packet sockets among
  // them.
  bool opens_sockets() const { return opens_sockets_; }

 private:
  Calls() = default;
  bool Rests() const { return left_ == 0 && !window_.Passed(); }
  Result<void> Answer(const sys::AskedCall& call);
  void TellFirst(const box::Refusal& refusal, const sys::AskedCall& call) const;
  void TellAll() const;
  Result<void> WriteLearnt() const;

  std::unique_ptr<jail::FilterBuffer> code_;
  std::unique_ptr<jail::Filter> filter_;  // Of that code.
  std::optional<box::CallPolicy> policy_;
  std::optional<box::RefusalTable> refused_;
  std::optional<LearntFile> learnt_;
  std::vector<box::CallRule> profile_;
  std::string command_;
  UniqueFd listener_;
  UniqueFd live_;  // Stderr, where a write never waits; where kinds are told when first seen.
  bool shown_ = false, json_ = false, opens_sockets_ = false;
  size_t left_ = 0;  // Answers that may still be given in this window.
  Deadline window_ = Deadline::After({});
};

}  // namespace msb::microbox
