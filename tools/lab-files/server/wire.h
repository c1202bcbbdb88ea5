// SPDX-License-Identifier: Apache-2.0
// What the lab's server and the host say to each other over one virtio-serial port, and the clients
// of tools/lab to its keeper over a Unix socket: frames of an 8-byte header (little endian) and a
// body. tools/lab-files/wire.py is the other side of this page; change both.
#pragma once

#include <cstddef>
#include <cstdint>

namespace lab {

enum class Type : uint8_t {
  // host -> lab
  kOpen = 1,    // start a run; body: see OpenRequest. `extra` 1: more of the same body follows
  kInput = 2,   // bytes for stdin; empty: end of file
  kSignal = 3,  // `extra` is the signal, for the process group in the foreground
  kResize = 4,  // u16 rows, u16 columns
  kHangUp = 5,  // the client is gone: SIGHUP, and a second later all of the run is killed
  kMount = 6,   // channel 0; body: tag NUL folder: a shared folder of the host; `extra` 1: writable
  kPowerOff = 7,  // channel 0
  kWake = 8,      // channel 0; asks for nothing: its interrupt is all that is meant
  // both ways
  kCredit = 16,  // u32: so many more bytes may come (output to the host, input to the lab)
  // lab -> host
  kHello = 32,   // channel 0; u32: milliseconds since the kernel started
  kOutput = 33,  // `extra` is 1 (stdout) or 2 (stderr)
  kExit = 34,    // u32: the status as of wait(2); the run's last frame
  kFailed = 35,  // u32 errno, then what was attempted; the run's last frame: it never started
  kMounted = 36  // channel 0; u32 errno, 0 when it worked
};

struct Header {
  uint8_t type;
  uint8_t extra;
  uint16_t length;  // of the body
  uint32_t channel;
};
static_assert(sizeof(Header) == 8);

// What either side may have under way in a run before the other has taken it, in bytes. Input
// starts with none: the lab gives the first of it when the program has started.
inline constexpr uint32_t kWindow = 256 * 1024;
inline constexpr size_t kLargestBody = 32 * 1024;
inline constexpr size_t kLargestOpen = 2 * 1024 * 1024;

}  // namespace lab
