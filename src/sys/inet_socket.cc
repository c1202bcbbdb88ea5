// SPDX-License-Identifier: Apache-2.0
// IPv4 sockets.

#include "sys/inet_socket.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>

#include "base/text.h"
#include "sys/retry.h"

namespace msb::sys {
namespace {

sockaddr_in ToSocket(const InetAddress& address) {
  sockaddr_in out{};
  out.sin_family = AF_INET;
  out.sin_addr.s_addr = htonl(address.address);
  out.sin_port = htons(address.port);
  return out;
}

// SAFETY: every sockaddr begins with the family; this is how the API is meant.
const sockaddr* Generic(const sockaddr_in& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}
sockaddr* Generic(sockaddr_in& address) { return reinterpret_cast<sockaddr*>(&address); }

std::string Name(const InetAddress& address) {
  in_addr number{htonl(address.address)};
  char text[INET_ADDRSTRLEN];
  return Cat(::inet_ntop(AF_INET, &number, text, sizeof text), ":", address.port);
}

Result<UniqueFd> Open(int type) {
  UniqueFd fd(::socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return Error::Errno("socket AF_INET");
  return fd;
}

Result<UniqueFd> Bind(int type, const InetAddress& at) {
  UniqueFd fd = TRY(Open(type));
  int on = 1;
  if (type == SOCK_STREAM && ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == -1)
    return Error::Errno("setsockopt SO_REUSEADDR");
  const sockaddr_in address = ToSocket(at);
  if (::bind(fd.get(), Generic(address), sizeof address) == -1)
    return Error::Errno(Cat("bind ", Name(at)));
  return fd;
}

Result<UniqueFd> Connect(int type, const InetAddress& to) {
  UniqueFd fd = TRY(Open(type));
  const sockaddr_in address = ToSocket(to);
  if (RetryOnEintr([&] { return ::connect(fd.get(), Generic(address), sizeof address); }) == -1 &&
      errno != EINPROGRESS)
    return Error::Errno(Cat("connect ", Name(to)));
  return fd;
}

}  // namespace

Result<UniqueFd> ListenTcp(const InetAddress& at, int backlog) {
  UniqueFd fd = TRY(Bind(SOCK_STREAM, at));
  if (::listen(fd.get(), backlog) == -1) return Error::Errno(Cat("listen ", Name(at)));
  return fd;
}

Result<UniqueFd> ConnectTcp(const InetAddress& to) {
  UniqueFd fd = TRY(Connect(SOCK_STREAM, to));
  int on = 1;
  (void)::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

Result<UniqueFd> BindUdp(const InetAddress& at) { return Bind(SOCK_DGRAM, at); }
Result<UniqueFd> ConnectUdp(const InetAddress& to) { return Connect(SOCK_DGRAM, to); }

Result<InetAddress> LocalAddress(BorrowedFd socket) {
  sockaddr_in address{};
  socklen_t size = sizeof address;
  if (::getsockname(socket.get(), Generic(address), &size) == -1)
    return Error::Errno("getsockname");
  return InetAddress{ntohl(address.sin_addr.s_addr), ntohs(address.sin_port)};
}

Result<std::optional<Datagram>> ReceiveFrom(BorrowedFd socket, std::span<std::byte> buffer) {
  sockaddr_in from{};
  socklen_t size = sizeof from;
  ssize_t n = RetryOnEintr([&] {
    return ::recvfrom(socket.get(), buffer.data(), buffer.size(), 0, Generic(from), &size);
  });
  if (n == -1 && errno == EAGAIN) return std::optional<Datagram>();
  if (n == -1) return Error::Errno("recvfrom");
  return std::optional(
      Datagram{static_cast<size_t>(n), {ntohl(from.sin_addr.s_addr), ntohs(from.sin_port)}});
}

void SendTo(BorrowedFd socket, std::span<const std::byte> bytes, const InetAddress& to) {
  const sockaddr_in address = ToSocket(to);
  (void)RetryOnEintr([&] {
    return ::sendto(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL, Generic(address),
                    sizeof address);
  });
}

void ShutDownWriting(BorrowedFd socket) { (void)::shutdown(socket.get(), SHUT_WR); }

void BreakOnClose(BorrowedFd socket) {
  linger now{1, 0};
  (void)::setsockopt(socket.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

}  // namespace msb::sys
