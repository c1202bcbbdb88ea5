// SPDX-License-Identifier: Apache-2.0
// Strict readers: what is read back as something else by another program is refused.

#include "network/address.h"

#include "base/text.h"

namespace msb::network {
namespace {

Error Bad(std::string_view text, std::string_view what, std::string_view remedy) {
  return Error(Code::kInvalidArgument, Cat(Escape(text, 64), " ", what))
      .Remedy(std::string(remedy));
}

Result<uint16_t> ParsePort(std::string_view text) {
  auto number = ParseNumber<uint16_t>(text);
  if (!number || *number == 0) return Bad(text, "is no port", "1 to 65535");
  return *number;
}

}  // namespace

Result<uint32_t> ParseAddress(std::string_view text) {
  if (text.find(':') != std::string_view::npos)
    return Bad(text, "is no IPv4 address", "sandboxes have IPv4 only");
  auto parts = Split(text, '.');
  uint32_t address = 0;
  bool valid = parts.size() == 4;
  for (size_t i = 0; valid && i < 4; i++) {
    auto number = ParseNumber<uint8_t>(parts[i]);
    // "010" is 8 to some and 10 to others.
    valid = number && (parts[i].size() == 1 || parts[i][0] != '0');
    if (valid) address = address << 8 | *number;
  }
  if (!valid) return Bad(text, "is no IPv4 address", "as in 192.0.2.1");
  return address;
}

std::string FormatAddress(uint32_t address) {
  return Cat(address >> 24, '.', address >> 16 & 255, '.', address >> 8 & 255, '.', address & 255);
}

Result<Cidr> ParseCidr(std::string_view text) {
  size_t slash = text.find('/');
  if (text.find(':') != std::string_view::npos)
    return Bad(text, "is no block of IPv4 addresses", "sandboxes have IPv4 only");
  auto address = ParseAddress(text.substr(0, slash));
  auto bits = slash == std::string_view::npos ? 32 : ParseNumber<int>(text.substr(slash + 1));
  if (!address || !bits || *bits < 0 || *bits > 32)
    return Bad(text, "is no block of addresses", "as in 10.0.0.0/8 or 192.0.2.1");
  Cidr cidr{*address, *bits};
  if ((cidr.address & ~cidr.Mask()) != 0)
    return Bad(text, "has bits behind the block's",
               FormatCidr({cidr.address & cidr.Mask(), cidr.bits}));
  return cidr;
}

std::string FormatCidr(const Cidr& cidr) {
  return Cat(FormatAddress(cidr.address), '/', cidr.bits);
}

Result<PublishedPort> ParsePublishedPort(std::string_view text) {
  PublishedPort port;
  std::string_view rest = text;
  if (size_t slash = rest.find('/'); slash != std::string_view::npos) {
    std::string_view transport = rest.substr(slash + 1);
    if (transport != "tcp" && transport != "udp")
      return Bad(text, "has another transport than tcp and udp", "as in 8080:80/udp");
    if (transport == "udp") port.transport = Transport::kUdp;
    rest = rest.substr(0, slash);
  }
  auto fields = Split(rest, ':');
  if (fields.size() != 2 && fields.size() != 3)
    return Bad(text, "is not [IP:]HOSTPORT:PORT[/udp]", "as in 8080:80 or 0.0.0.0:8080:80");
  if (fields.size() == 3) port.address = TRY(ParseAddress(fields[0]));
  port.host_port = TRY(ParsePort(fields[fields.size() - 2]));
  port.port = TRY(ParsePort(fields.back()));
  return port;
}

std::string FormatPublishedPort(const PublishedPort& port) {
  return Cat(FormatAddress(port.address), ':', port.host_port, ':', port.port,
             port.transport == Transport::kTcp ? "/tcp" : "/udp");
}

}  // namespace msb::network
