// SPDX-License-Identifier: Apache-2.0
// Unix sockets and descriptors over them.

#include "sys/socket.h"

#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>

#include "base/check.h"
#include "base/text.h"
#include "sys/retry.h"

namespace msb::sys {
namespace {

constexpr size_t kMaxFds = 16;

Result<sockaddr_un> AddressAt(BorrowedFd dir, const std::string& name) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::string path = Cat("/proc/self/fd/", dir.get(), "/", name);
  if (path.size() >= sizeof address.sun_path)
    return Error(Code::kInvalidArgument, Cat("socket name ", Escape(name), " is too long"));
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

// SAFETY: every sockaddr begins with the family; this is how the API is meant.
const sockaddr* Generic(const sockaddr_un& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}

}  // namespace

Result<SocketPair> MakeSocketPair(int type) {
  int fds[2];
  if (::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds) == -1) return Error::Errno("socketpair");
  return SocketPair{UniqueFd(fds[0]), UniqueFd(fds[1])};
}

Result<UniqueFd> ListenAt(BorrowedFd dir, const std::string& name, int backlog) {
  auto address = TRY(AddressAt(dir, name));
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return Error::Errno("socket AF_UNIX");
  if (::bind(fd.get(), Generic(address), sizeof address) == -1)
    return Error::Errno(Cat("bind ", name));
  if (::listen(fd.get(), backlog) == -1) return Error::Errno(Cat("listen ", name));
  return fd;
}

Result<UniqueFd> ConnectAt(BorrowedFd dir, const std::string& name) {
  auto address = TRY(AddressAt(dir, name));
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return Error::Errno("socket AF_UNIX");
  if (RetryOnEintr([&] { return ::connect(fd.get(), Generic(address), sizeof address); }) == -1)
    return Error::Errno(Cat("connect ", name));
  return fd;
}

Result<UniqueFd> ConnectTo(const std::string& path, bool abstract) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  size_t before = abstract ? 1 : 0;
  if (path.empty() || path.size() + before >= sizeof address.sun_path)
    return Error(Code::kInvalidArgument,
                 Cat("connect ", Escape(path, 120), ": not a socket's name"));
  std::memcpy(address.sun_path + before, path.c_str(), path.size());
  // The length of an abstract name counts: it has no end of its own.
  auto length = abstract ? offsetof(sockaddr_un, sun_path) + before + path.size() : sizeof address;
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return Error::Errno("socket AF_UNIX");
  if (RetryOnEintr([&] {
        return ::connect(fd.get(), Generic(address), static_cast<socklen_t>(length));
      }) == -1) {
    Error error = Error::Errno(Cat("connect ", Escape(path, 120)));
    if (error.sys_errno() == EAGAIN) return Error(Code::kUnavailable, error.message());
    return error;
  }
  return fd;
}

Result<std::optional<UniqueFd>> Accept(BorrowedFd listener) {
  int fd = RetryOnEintr(
      [&] { return ::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK); });
  if (fd != -1) return std::optional(UniqueFd(fd));
  if (errno == EAGAIN || errno == ECONNABORTED) return std::optional<UniqueFd>();
  return Error::Errno("accept4");
}

Result<PeerCredentials> GetPeer(BorrowedFd socket) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) == -1)
    return Error::Errno("getsockopt SO_PEERCRED");
  return PeerCredentials{peer.pid, peer.uid, peer.gid};
}

Result<size_t> SendSome(BorrowedFd socket, std::span<const std::byte> bytes) {
  ssize_t n =
      RetryOnEintr([&] { return ::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL); });
  if (n == -1) return Error::Errno("send");
  return static_cast<size_t>(n);
}

namespace {

// The kernel only reads the array; msghdr says otherwise.
msghdr Message(std::span<const iovec> parts) {
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(parts.data());
  message.msg_iovlen = parts.size();
  return message;
}

Result<std::optional<size_t>> Moved(ssize_t n, const char* call) {
  if (n == -1 && errno == EAGAIN) return std::optional<size_t>();
  if (n == -1) return Error::Errno(call);
  return std::optional(static_cast<size_t>(n));
}

}  // namespace

Result<std::optional<size_t>> SendParts(BorrowedFd socket, std::span<const iovec> parts) {
  msghdr message = Message(parts);
  return Moved(
      RetryOnEintr([&] { return ::sendmsg(socket.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT); }),
      "sendmsg");
}

Result<std::optional<size_t>> ReceiveParts(BorrowedFd socket, std::span<const iovec> parts) {
  msghdr message = Message(parts);
  return Moved(RetryOnEintr([&] { return ::recvmsg(socket.get(), &message, MSG_DONTWAIT); }),
               "recvmsg");
}

Result<size_t> SendWithFds(BorrowedFd socket, std::span<const std::byte> bytes,
                           std::span<const BorrowedFd> fds) {
  CHECK(fds.size() <= kMaxFds && !bytes.empty());
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxFds * sizeof(int))] = {};
  iovec vector{const_cast<std::byte*>(bytes.data()), bytes.size()};
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  if (!fds.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
    for (size_t i = 0; i < fds.size(); i++) {
      int fd = fds[i].get();
      std::memcpy(CMSG_DATA(header) + i * sizeof fd, &fd, sizeof fd);
    }
  }
  ssize_t n = RetryOnEintr([&] { return ::sendmsg(socket.get(), &message, MSG_NOSIGNAL); });
  if (n == -1) return Error::Errno("sendmsg");
  return static_cast<size_t>(n);
}

Result<Received> ReceiveWithFds(BorrowedFd socket, std::span<std::byte> buffer) {
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxFds * sizeof(int))] = {};
  iovec vector{buffer.data(), buffer.size()};
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t n = RetryOnEintr([&] { return ::recvmsg(socket.get(), &message, MSG_CMSG_CLOEXEC); });
  if (n == -1) return Error::Errno("recvmsg");
  Received received{static_cast<size_t>(n), {}};
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; i++) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
      received.fds.emplace_back(fd);
    }
  }
  if ((message.msg_flags & MSG_CTRUNC) != 0)
    return Error(Code::kInvalidArgument, "peer sent too many descriptors");
  return received;
}

}  // namespace msb::sys
