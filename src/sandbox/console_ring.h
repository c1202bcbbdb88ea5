// SPDX-License-Identifier: Apache-2.0
// The guest's console: the last bytes of it, and what they say about a machine that died.

#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace msb::sandbox {

inline constexpr size_t kConsoleRingBytes = 256 * 1024;

class ConsoleRing {
 public:
  explicit ConsoleRing(size_t capacity = kConsoleRingBytes) : capacity_(capacity) {}

  void Append(std::span<const std::byte> bytes);
  // Everything that is kept, oldest first.
  std::string Content() const;
  // Bytes ever appended.
  uint64_t total() const { return total_; }
  // The last line that reports a kernel panic, escaped; nullopt: none near the end. A hint:
  // whatever may open /dev/console can write the same.
  std::optional<std::string> PanicLine() const;
  // The last lines, escaped, joined by " | "; empty when there are none.
  std::string Tail(size_t lines) const;

 private:
  size_t capacity_;
  std::vector<std::byte> ring_;
  size_t next_ = 0;  // Where the next byte goes once the ring is full.
  uint64_t total_ = 0;
};

// Some of what a hostile guest has written, for the user's terminal: only line ends pass unescaped.
// The kernel ends its lines with "\r\n", and the bytes come cut at any place.
std::string ConsoleText(std::string_view bytes);

}  // namespace msb::sandbox
