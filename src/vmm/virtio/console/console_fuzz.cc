// SPDX-License-Identifier: Apache-2.0
// A hostile driver of both ports and the control queues, and a host that sends, reads, hangs up and
// comes again.

#include <sys/socket.h>

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "sys/file.h"
#include "sys/socket.h"
#include "vmm/virtio/console/device.h"
#include "vmm/virtio/test_fuzz_guest.h"

namespace {

void Drain(msb::BorrowedFd socket) {
  std::array<std::byte, 65536> bytes;
  iovec part{bytes.data(), bytes.size()};
  while (true) {
    auto got = msb::sys::ReceiveParts(socket, std::span(&part, 1));
    if (!got.ok() || got->value_or(0) == 0) break;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace msb;
  static auto loop = std::move(*event::Loop::Create());
  auto console = std::move(*sys::MakeSocketPair());
  auto agent = std::move(*sys::MakeSocketPair());
  auto device = vmm::ConsoleDevice::Create(
      *loop, {.console = std::move(console.second), .agent = std::move(agent.second)});
  CHECK(device.ok());
  vmm::FuzzGuest guest(**device, [] {
    for (int i = 0; i < 3; i++) (void)loop->RunOnce(Deadline::After(Clock::duration::zero()));
  });
  std::array<std::byte, 300> text{};
  guest.Run(std::as_bytes(std::span(data, size)), [&](ByteReader& in) {
    auto what = in.Number<uint8_t>();
    if (!what.ok()) return;
    iovec part{text.data(), *what};
    switch (*what % 6) {
      case 0:
      case 1:
        (void)sys::SendParts(agent.first, std::span(&part, 1));
        break;
      case 2:
        (void)sys::SendParts(console.first, std::span(&part, 1));
        break;
      case 3:
        Drain(agent.first);
        Drain(console.first);
        break;
      case 4:
        agent.first.Reset();
        break;
      default: {
        auto next = std::move(*sys::MakeSocketPair());
        CHECK((*device)->AttachAgent(std::move(next.second)).ok());
        agent.first = std::move(next.first);
        break;
      }
    }
  });
  return 0;
}
