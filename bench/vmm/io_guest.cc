// SPDX-License-Identifier: Apache-2.0
// The /init of a guest that only moves bytes: the writable disk past the page cache, then the agent
// port. Says what it measured on the agent port, "NAME VALUE" a line, and restarts the machine.
//
// The disk's old content is lost.

#include <fcntl.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>

namespace {

constexpr size_t kLarge = 256 << 10;
constexpr size_t kSmall = 4 << 10;
constexpr size_t kSpan = 64 << 20;  // Of the disk.
constexpr int kRandom = 2000;
constexpr size_t kStream = 64 << 20;
constexpr size_t kFrame = 32 << 10;  // As the agent's.

int port = -1;  // NOLINT(cppcoreguidelines-avoid-non-const-global-variables)

void Send(const char* bytes, size_t size) {
  while (size > 0) {
    ssize_t n = ::write(port, bytes, size);
    if (n > 0) {
      bytes += n;
      size -= static_cast<size_t>(n);
      continue;
    }
    pollfd wait{.fd = port, .events = POLLOUT, .revents = 0};
    ::poll(&wait, 1, -1);
  }
}

void Say(const std::string& name, double value) {
  char line[64];
  int n = std::snprintf(line, sizeof line, "%s %.3f\n", name.c_str(), value);
  Send(line, static_cast<size_t>(n));
}

double Seconds(const std::function<void()>& work) {
  auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

[[noreturn]] void End() {
  ::reboot(RB_AUTOBOOT);
  std::abort();
}

void Must(bool good, const char* what) {
  if (good) return;
  Say(std::string("failed-") + what, errno);
  End();
}

void Sequential(int disk, char* buffer, bool write) {
  for (size_t at = 0; at < kSpan; at += kLarge) {
    auto offset = static_cast<off_t>(at);
    ssize_t n =
        write ? ::pwrite(disk, buffer, kLarge, offset) : ::pread(disk, buffer, kLarge, offset);
    Must(n == static_cast<ssize_t>(kLarge), "sequential");
  }
}

void Random(int disk, char* buffer, bool write) {
  uint64_t state = 88172645463325252;
  for (int i = 0; i < kRandom; i++) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    auto offset = static_cast<off_t>(state % (kSpan / kSmall) * kSmall);
    ssize_t n =
        write ? ::pwrite(disk, buffer, kSmall, offset) : ::pread(disk, buffer, kSmall, offset);
    Must(n == static_cast<ssize_t>(kSmall), "random");
  }
}

}  // namespace

int main() {
  ::mount("dev", "/dev", "devtmpfs", 0, nullptr);
  // The port appears when its control messages have been exchanged.
  for (int i = 0; i < 5000 && port < 0; i++) {
    port = ::open("/dev/vport0p1", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (port < 0) ::usleep(1000);
  }
  if (port < 0) End();
  int disk = ::open("/dev/vdb", O_RDWR | O_DIRECT | O_CLOEXEC);
  Must(disk >= 0, "open-disk");
  auto* buffer = static_cast<char*>(std::aligned_alloc(kSmall, kLarge));
  std::memset(buffer, 0x5a, kLarge);
  constexpr double kMiB = 1 << 20;
  for (bool write : {true, false}) {
    std::string name = write ? "write" : "read";
    Say("sequential-" + name + "-MiB/s",
        kSpan / kMiB / Seconds([&] { Sequential(disk, buffer, write); }));
    Say("random-" + name + "-per-s", kRandom / Seconds([&] { Random(disk, buffer, write); }));
  }
  Say("stream", static_cast<double>(kStream));
  for (size_t sent = 0; sent < kStream; sent += kFrame) Send(buffer, kFrame);
  // What lies in the port's ring would be lost with the machine: the host says when it has all.
  pollfd wait{.fd = port, .events = POLLIN, .revents = 0};
  ::poll(&wait, 1, 10000);
  End();
}
