// SPDX-License-Identifier: Apache-2.0
// Netlink (RFC 3549; netlink(7), rtnetlink(7)): messages written into one buffer, sent at once, and
// the kernel's answers. The kernel works off what it is sent before send() returns, so that its
// answers are there to be read at once and nothing here waits.
//
// A message is a header of 16 bytes, a fixed header of its family, then attributes {length, type,
// value}, each padded to 4 bytes; values are in the host's byte order but where a family says
// otherwise (nf_tables: big endian).

#pragma once

#include <arpa/inet.h>
#include <linux/netlink.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/result.h"

namespace msb::sys {

class NetlinkWriter {
 public:
  // `header` is the family's: ifinfomsg, nfgenmsg, ... NLM_F_REQUEST comes by itself.
  template <class H>
  void Begin(uint16_t type, uint16_t flags, const H& header) {
    static_assert(std::is_trivially_copyable_v<H>);
    BeginMessage(type, flags);
    Append(std::as_bytes(std::span(&header, 1)));
  }
  void Bytes(uint16_t type, std::span<const std::byte> value);
  // With its zero byte.
  void Text(uint16_t type, std::string_view value);
  template <class T>
  void Value(uint16_t type, const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    Bytes(type, std::as_bytes(std::span(&value, 1)));
  }
  void Big16(uint16_t type, uint16_t value) { Value(type, htons(value)); }
  void Big32(uint16_t type, uint32_t value) { Value(type, htonl(value)); }
  // Attributes that `fill` writes, as the value of one.
  template <class F>
  void Nest(uint16_t type, F&& fill) {
    size_t at = Open(static_cast<uint16_t>(type | NLA_F_NESTED));
    fill();
    Close(at);
  }
  // A fixed header in the midst of attributes, as VETH_INFO_PEER has one.
  template <class H>
  void Inline(const H& header) {
    Append(std::as_bytes(std::span(&header, 1)));
  }
  std::span<const std::byte> bytes() const { return bytes_; }
  uint32_t messages() const { return messages_; }

 private:
  void BeginMessage(uint16_t type, uint16_t flags);
  void Append(std::span<const std::byte> bytes);
  size_t Open(uint16_t type);
  void Close(size_t at);

  std::vector<std::byte> bytes_;
  size_t message_ = 0;  // Where the last one begins.
  uint32_t messages_ = 0;
};

// Attributes of the kernel's answer, by type; the last of a type. Malformed ones end the list.
class NetlinkAttributes {
 public:
  explicit NetlinkAttributes(std::span<const std::byte> bytes) : bytes_(bytes) {}
  // Empty when there is none.
  std::span<const std::byte> Find(uint16_t type) const;
  std::string_view Text(uint16_t type) const;  // Up to its zero byte.
  template <class T>
  std::optional<T> Value(uint16_t type) const {
    auto value = Find(type);
    if (value.size() != sizeof(T)) return std::nullopt;
    return LoadLittle<T>(value.data());
  }

 private:
  std::span<const std::byte> bytes_;
};

class NetlinkSocket {
 public:
  // NETLINK_ROUTE, NETLINK_NETFILTER: of the caller's network namespace, for as long as it lives.
  static Result<NetlinkSocket> Open(int protocol);

  using Answer = std::function<void(uint16_t type, std::span<const std::byte> payload)>;
  // Sends and reads all that the kernel answers: its first error, with its own words where it has
  // some, or success. Messages that are data go to `answer`.
  Result<void> Execute(const NetlinkWriter& messages, const Answer& answer = nullptr);

  BorrowedFd fd() const { return fd_; }

 private:
  explicit NetlinkSocket(UniqueFd fd) : fd_(std::move(fd)) {}
  Result<bool> ReadSome(const Answer& answer, std::optional<Error>& error);

  UniqueFd fd_;
};

}  // namespace msb::sys
