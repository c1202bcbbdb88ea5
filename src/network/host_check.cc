// SPDX-License-Identifier: Apache-2.0
// The parts of a start, without a sandbox.

#include "network/host_check.h"

#include <sched.h>
#include <unistd.h>

#include "base/text.h"
#include "network/bridge.h"
#include "network/carrier.h"
#include "network/nft.h"
#include "network/rules.h"
#include "network/settings.h"
#include "sys/file.h"
#include "sys/fork.h"

namespace msb::network {
namespace {

constexpr size_t kMostSaid = 4096;

Result<void> TryAsRoot() {
  UniqueFd spaces[2];
  for (UniqueFd& space : spaces) {
    if (::unshare(CLONE_NEWNET) == -1) return Error::Errno("make a network namespace");
    space = TRY(sys::OpenAt(sys::Cwd(), "/proc/self/ns/net", O_RDONLY));
  }
  auto bridge = TRY(Bridge::Prepare({}));
  return bridge.Attach(spaces[0]);
}

Result<void> TryAsUser() {
  if (::unshare(CLONE_NEWUSER | CLONE_NEWNET) == -1)
    return Error::Errno("make a user and a network namespace");
  TRY(DisableIpv6());
  auto netfilter = TRY(NetlinkSocket::Open(NETLINK_NETFILTER));
  NftBatch batch(kTable);
  AddInnerTable(batch, Carrier::Addresses().address, {}, {});
  return batch.Commit(netfilter).Remedy(
      "the kernel lets no user namespace have rules of packets: run microbox as root");
}

}  // namespace

Result<void> TryBridge() {
  bool root = ::geteuid() == 0;
  if (!root) TRY(Carrier::Check({}));
  sys::Pipe pipe = TRY(sys::MakePipe());
  auto child = TRY(sys::ForkChild([&] {
    auto done = root ? TryAsRoot() : TryAsUser();
    if (done) return 0;
    (void)sys::WriteAll(pipe.write, Cat(done.error().message(), "\n", done.error().remedy()));
    return 1;
  }));
  pipe.write.Reset();
  std::string said = TRY(sys::ReadAll(pipe.read, kMostSaid));
  auto ended = TRY(child.Wait(Deadline::Never()));
  if (ended == sys::ExitStatus{}) return {};
  size_t line = said.find('\n');
  return Error(Code::kFailedPrecondition, said.empty() ? "the try died" : said.substr(0, line))
      .Remedy(line == std::string::npos ? "" : said.substr(line + 1));
}

}  // namespace msb::network
