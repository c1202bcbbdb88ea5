// SPDX-License-Identifier: Apache-2.0
// Writing, sending and reading netlink messages.

#include "sys/netlink.h"

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>

#include "base/text.h"
#include "sys/retry.h"

namespace msb::sys {
namespace {

constexpr size_t kHeader = sizeof(nlmsghdr), kAttribute = sizeof(nlattr);
// The kernel fills dumps by up to this much at a time.
constexpr size_t kAnswerBytes = 32 * 1024;

size_t Padded(size_t size) { return (size + 3) & ~size_t{3}; }

// What the kernel says in words of an error (NETLINK_EXT_ACK), or nothing.
std::string_view WordsOf(const nlmsghdr& header, std::span<const std::byte> payload) {
  if ((header.nlmsg_flags & NLM_F_ACK_TLVS) == 0) return "";
  // With NETLINK_CAP_ACK no more of our message than its header comes back.
  if (payload.size() < sizeof(nlmsgerr)) return "";
  return NetlinkAttributes(payload.subspan(sizeof(nlmsgerr))).Text(NLMSGERR_ATTR_MSG);
}

}  // namespace

void NetlinkWriter::Append(std::span<const std::byte> bytes) {
  bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  bytes_.resize(Padded(bytes_.size()));
  StoreLittle(bytes_.data() + message_, static_cast<uint32_t>(bytes_.size() - message_));
}

void NetlinkWriter::BeginMessage(uint16_t type, uint16_t flags) {
  message_ = bytes_.size();
  nlmsghdr header{};
  header.nlmsg_len = kHeader;
  header.nlmsg_type = type;
  header.nlmsg_flags = static_cast<uint16_t>(flags | NLM_F_REQUEST);
  header.nlmsg_seq = ++messages_;
  Append(std::as_bytes(std::span(&header, 1)));
}

void NetlinkWriter::Bytes(uint16_t type, std::span<const std::byte> value) {
  nlattr attribute{static_cast<uint16_t>(kAttribute + value.size()), type};
  Append(std::as_bytes(std::span(&attribute, 1)));
  Append(value);
}

void NetlinkWriter::Text(uint16_t type, std::string_view value) {
  std::string text(value);
  Bytes(type, std::as_bytes(std::span(text.c_str(), text.size() + 1)));
}

size_t NetlinkWriter::Open(uint16_t type) {
  size_t at = bytes_.size();
  Bytes(type, {});
  return at;
}

void NetlinkWriter::Close(size_t at) {
  StoreLittle(bytes_.data() + at, static_cast<uint16_t>(bytes_.size() - at));
}

std::span<const std::byte> NetlinkAttributes::Find(uint16_t type) const {
  std::span<const std::byte> found;
  for (auto rest = bytes_; rest.size() >= kAttribute;) {
    auto length = LoadLittle<uint16_t>(rest.data());
    auto kind = LoadLittle<uint16_t>(rest.data() + 2);
    if (length < kAttribute || length > rest.size()) break;
    if ((kind & NLA_TYPE_MASK) == type) found = rest.subspan(kAttribute, length - kAttribute);
    rest = rest.subspan(std::min(Padded(length), rest.size()));
  }
  return found;
}

std::string_view NetlinkAttributes::Text(uint16_t type) const {
  std::string_view text = AsText(Find(type));
  return text.substr(0, text.find('\0'));
}

Result<NetlinkSocket> NetlinkSocket::Open(int protocol) {
  UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol));
  if (!fd) return Error::Errno("socket AF_NETLINK");
  int on = 1;
  // Both are older than any kernel that we run on; without them errors lose their words only.
  (void)::setsockopt(fd.get(), SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
  (void)::setsockopt(fd.get(), SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
  return NetlinkSocket(std::move(fd));
}

// False when nothing more is there.
Result<bool> NetlinkSocket::ReadSome(const Answer& answer, std::optional<Error>& error) {
  std::vector<std::byte> buffer(kAnswerBytes);
  ssize_t n =
      RetryOnEintr([&] { return ::recv(fd_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT); });
  if (n == -1 && errno == EAGAIN) return false;
  if (n == -1) return Error::Errno("netlink answer");
  for (auto rest = std::span<const std::byte>(buffer).first(static_cast<size_t>(n));
       rest.size() >= kHeader;) {
    auto header = LoadLittle<nlmsghdr>(rest.data());
    if (header.nlmsg_len < kHeader || header.nlmsg_len > rest.size())
      return Error(Code::kInternal, "netlink: a malformed answer");
    auto payload = rest.subspan(kHeader, header.nlmsg_len - kHeader);
    rest = rest.subspan(std::min(Padded(header.nlmsg_len), rest.size()));
    if (header.nlmsg_type == NLMSG_ERROR || header.nlmsg_type == NLMSG_DONE) {
      int code = payload.size() >= sizeof(int) ? LoadLittle<int>(payload.data()) : 0;
      if (code == 0 || error) continue;
      std::string_view words = WordsOf(header, payload);
      error = Error::Errno(words.empty() ? "netlink" : Escape(words), -code);
    } else if (header.nlmsg_type >= NLMSG_MIN_TYPE && answer) {
      answer(header.nlmsg_type, payload);
    }
  }
  return true;
}

Result<void> NetlinkSocket::Execute(const NetlinkWriter& messages, const Answer& answer) {
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  // SAFETY: every sockaddr begins with the family.
  auto bytes = messages.bytes();
  ssize_t n = RetryOnEintr([&] {
    return ::sendto(fd_.get(), bytes.data(), bytes.size(), 0,
                    reinterpret_cast<const sockaddr*>(&kernel), sizeof kernel);
  });
  if (n == -1) return Error::Errno("netlink");
  std::optional<Error> error;
  bool more = true;
  while (more) more = TRY(ReadSome(answer, error));
  if (error) return std::move(*error);
  return {};
}

}  // namespace msb::sys
