// SPDX-License-Identifier: Apache-2.0
// Any bytes from the host against a session: it answers, drops the connection or ignores, and never
// falls over. Programs are started from a path that does not exist, so no process runs.

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <memory>

#include "agent/accounts.h"
#include "agent/exec_group.h"
#include "agent/session.h"
#include "base/check.h"
#include "event/loop.h"
#include "protocol/frame.h"
#include "sys/file.h"
#include "sys/socket.h"

namespace {

using namespace msb;

class NoMachine final : public agent::Session::Machine {
 public:
  protocol::Hello MakeHello() override { return {.release = "fuzz"}; }
  void Configure(const protocol::MachineConfig&) override {}
  void Shutdown() override {}
  void Disconnected(const std::string&) override { disconnected = true; }
  bool disconnected = false;
};

// No group can be had: every exec ends before a process is made.
class NoGroups final : public agent::ExecGroups {
 public:
  Result<std::unique_ptr<agent::ExecGroup>> Take() override {
    return Error(Code::kResourceExhausted, "no processes while fuzzing");
  }
  void GiveBack(std::unique_ptr<agent::ExecGroup>) override {}
  void Tidy() override {}
  void Sweep() override {}
  void KillAll() override {}
};

void FeedAll(event::Loop& loop, const UniqueFd& host, std::span<const std::byte> bytes,
             const NoMachine& machine) {
  std::byte answers[65536];
  while (!bytes.empty() && !machine.disconnected) {
    ssize_t n = ::send(host.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) bytes = bytes.subspan(static_cast<size_t>(n));
    for (int i = 0; i < 4; ++i)
      CHECK(loop.RunOnce(Deadline::After(std::chrono::milliseconds(0))).ok());
    while (::recv(host.get(), answers, sizeof answers, MSG_DONTWAIT) > 0) {
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  ::signal(SIGPIPE, SIG_IGN);
  auto loop = *event::Loop::Create();
  NoMachine machine;
  NoGroups groups;
  agent::Accounts accounts(*sys::OpenAt(sys::Cwd(), "/", O_RDONLY | O_DIRECTORY));
  agent::Session session(*loop, machine, groups, accounts);
  auto pair = *sys::MakeSocketPair();
  CHECK(sys::SetNonBlocking(pair.second, true).ok());
  CHECK(session.Attach(std::move(pair.second)).ok());
  // The hello is given, else most inputs end at its absence; the first bit leaves it out.
  std::vector<std::byte> input;
  if (size > 0 && (data[0] & 1) == 0)
    protocol::AppendFrame(input, {.type = protocol::Type::kHello},
                          Encode(protocol::Hello{.epoch = 1}));
  auto rest = std::as_bytes(std::span(data, size)).subspan(size > 0 ? 1 : 0);
  input.insert(input.end(), rest.begin(), rest.end());
  FeedAll(*loop, pair.first, input, machine);
  return 0;
}
