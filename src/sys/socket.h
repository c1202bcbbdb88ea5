// SPDX-License-Identifier: Apache-2.0
// Unix sockets, by directory descriptor: sun_path holds 108 bytes and homes are longer, so a socket
// is reached through /proc/self/fd/<dir>/name.

#pragma once

#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace msb::sys {

struct SocketPair {
  UniqueFd first;
  UniqueFd second;
};
// SOCK_STREAM unless said otherwise.
Result<SocketPair> MakeSocketPair(int type = SOCK_STREAM);

Result<UniqueFd> ListenAt(BorrowedFd dir, const std::string& name, int backlog = 64);
Result<UniqueFd> ConnectAt(BorrowedFd dir, const std::string& name);
// A socket by its absolute path, or by its abstract name (unix(7)); non-blocking. A listener whose
// queue is full is kUnavailable: others' services may hang, and we do not wait for them.
Result<UniqueFd> ConnectTo(const std::string& path, bool abstract = false);
// nullopt when nobody waits (EAGAIN) or the peer has gone again.
Result<std::optional<UniqueFd>> Accept(BorrowedFd listener);

struct PeerCredentials {
  pid_t pid;
  uid_t uid;
  gid_t gid;
};
Result<PeerCredentials> GetPeer(BorrowedFd socket);

// Never raises SIGPIPE.
Result<size_t> SendSome(BorrowedFd socket, std::span<const std::byte> bytes);
// Both without waiting, whatever the socket's mode, at most 1024 parts in one call. nullopt: the
// socket is full, or has nothing.
Result<std::optional<size_t>> SendParts(BorrowedFd socket, std::span<const iovec> parts);
// 0: the peer has closed (or there is no room in `parts`).
Result<std::optional<size_t>> ReceiveParts(BorrowedFd socket, std::span<const iovec> parts);
// At most 16 descriptors beside at least one byte.
Result<size_t> SendWithFds(BorrowedFd socket, std::span<const std::byte> bytes,
                           std::span<const BorrowedFd> fds);
struct Received {
  size_t bytes = 0;  // 0: the peer has closed.
  std::vector<UniqueFd> fds;
};
Result<Received> ReceiveWithFds(BorrowedFd socket, std::span<std::byte> buffer);

}  // namespace msb::sys
