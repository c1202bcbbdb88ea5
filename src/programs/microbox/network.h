// SPDX-License-Identifier: Apache-2.0
// The sandbox's link to the world, made while it starts, and gone with it.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "programs/microbox/options.h"

namespace msb::microbox {

// For the status record.
struct NetworkFacts {
  std::string_view mode = "none";  // Or bridge, host.
  std::string address, gateway;    // Of bridge, as is all that follows.
  std::string by;                  // Who carries packets and keeps the rules.
  std::vector<std::string> refused, allowed, ports;
};

// What the policy of system calls lets the command make: its own kinds, or more.
enum class Sockets : uint8_t { kPlain, kMore };

class Network {
 public:
  // Claims what must be claimed, listens at published ports, and has box::Start() do the rest.
  static Result<Network> Prepare(Options& options, Sockets sockets);
  Network(Network&&) noexcept;
  Network& operator=(Network&&) = delete;
  ~Network();

  // After the start: published ports lead inside.
  Result<void> Begin();
  // To wait for (-1: nothing), and to be called then.
  int fd() const;
  void Move();
  // After the sandbox's end.
  void End();

  const NetworkFacts& facts() const;

 private:
  struct State;
  explicit Network(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace msb::microbox
