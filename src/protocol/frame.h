// SPDX-License-Identifier: Apache-2.0
// Frames: what travels over the agent channel (supervisor <-> agent) and the control socket
// (client <-> supervisor). All numbers are little-endian.
//
//   offset  size  field
//        0     2  length   bytes of body, at most kMaxBody
//        2     1  type     Type
//        3     1  fd       stream within the exec: 0 stdin, 1 stdout, 2 stderr; else 0
//        4     4  exec     id of the exec, chosen by the host (on a control socket: by the client);
//                          0 means the machine itself
//        8     8  offset   DATA: absolute offset of the first byte; EOF: length of the stream;
//                          CREDIT: bytes taken for good by the receiver; else 0
//       16        body
//
// A frame fits one write() to the virtio console port, which Linux cuts at 32 KiB
// (drivers/char/virtio_console.c, port_fops_write).

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"

namespace msb::protocol {

inline constexpr size_t kHeaderSize = 16;
inline constexpr size_t kMaxFrame = 32 * 1024;
inline constexpr size_t kMaxBody = kMaxFrame - kHeaderSize;

enum class Type : uint8_t {
  // The connection and the machine.
  kHello = 1,   // Both: first frame of every connection. Body: Hello.
  kConfig = 2,  // Host: body MachineConfig. Sent once, after the agent's first hello is expected.
  kPing = 3,    // Both: answered by kPong with the same body.
  kPong = 4,
  kShutdown = 5,  // Host: end everything, say goodbye, power off.
  kGoodbye = 6,   // Agent: body text, the reason. The last frame before power-off or reset.

  // Execs.
  kExecOpen = 16,     // Host: body ExecSpec. A second one with a known id only repeats the answer.
  kExecStarted = 17,  // Agent: body ExecStarted.
  kExecFailed = 18,   // Agent: body ExecFailed. The end of the exec, no process ever ran.
  kExecExit = 19,     // Agent: body ExecExit. Follows the kEof of the output streams.
  kSignal = 20,       // Host: body u32 signal number, to the exec's foreground process group.
  kResize = 21,       // Host: body TerminalSize.
  kKill = 22,         // Host: SIGKILL to everything in the exec's cgroup.
  kHangup = 23,       // Host: its client is gone. SIGHUP to the exec's process group; from here on
                      // its output is read and thrown away.
  kClose = 24,        // Host: kExecExit or kExecFailed has arrived; the id may be forgotten.

  // Streams of bytes.
  kData = 32,    // Both: body is the bytes.
  kEof = 33,     // Both: nothing follows; offset is the stream's length.
  kCredit = 34,  // Both: body u64, the absolute offset up to which the sender may send.
  kReset = 35,   // Receiver: nobody reads this stream any more; the sender drops what it has.

  // Control socket only.
  kStatusRequest = 48,  // Client.
  kStatus = 49,         // Supervisor: body is JSON text, the record.
  kStop = 50,           // Client: body u32 milliseconds of grace; then the machine is killed.
  kKillMachine = 51,    // Client: at once.
  kOutcome = 52,        // Supervisor: body is JSON text; the sandbox has ended. The last frame.
  kError = 53,  // Supervisor: body ErrorBody; the request for `exec` (or the sandbox) failed.
  kReady = 54,  // Supervisor: body is JSON text; the agent has said hello.
  kConsoleRequest = 55,  // Client.
  kConsole = 56,         // Supervisor: what is kept of the guest's console; an empty one ends it.
};

struct Header {
  uint16_t length = 0;
  Type type{};
  uint8_t fd = 0;
  uint32_t exec = 0;
  uint64_t offset = 0;

  bool operator==(const Header&) const = default;
};

struct Frame {
  Header header;
  std::span<const std::byte> body;  // Valid until the reader's next call.
};

// Checks the length, that the type is known, and that fd is 0, 1 or 2. What a type means in the
// receiver's state is the receiver's check.
Result<Header> ParseHeader(std::span<const std::byte, kHeaderSize> bytes);
void EncodeHeader(const Header& header, std::span<std::byte, kHeaderSize> out);

// Appends a whole frame; the length is taken from the body, which must fit (CHECK).
void AppendFrame(std::vector<std::byte>& out, Header header, std::span<const std::byte> body = {});

// Cuts a byte stream into frames. The caller reads straight into Space(), so a body is not copied
// on its way in. Memory: one buffer of `capacity` bytes, of which what is never filled is never
// touched.
class FrameReader {
 public:
  static constexpr size_t kSmallest = 2 * kMaxFrame;
  // For a reader of floods: what a Unix socket holds (net.core.wmem_default, 208 KiB) comes in one
  // read.
  static constexpr size_t kLarge = 8 * kMaxFrame;

  // `capacity`: at least kSmallest (CHECK).
  explicit FrameReader(size_t capacity = kSmallest);
  // Room for at least kMaxFrame bytes, once Next() has returned nullopt.
  std::span<std::byte> Space();
  void Filled(size_t count);
  // The next whole frame; nullopt: feed more. An error is final: the peer has lost the framing.
  Result<std::optional<Frame>> Next();
  // Bytes of an incomplete frame in hand.
  size_t pending() const { return end_ - begin_; }
  // A new connection: what was half received is dropped.
  void Reset() { begin_ = end_ = 0; }

 private:
  size_t capacity_;
  std::unique_ptr<std::byte[]> buffer_;
  size_t begin_ = 0;
  size_t end_ = 0;
};

}  // namespace msb::protocol
