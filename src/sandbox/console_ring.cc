// SPDX-License-Identifier: Apache-2.0
// A ring of bytes and what it says. The bytes are a hostile guest's.

#include "sandbox/console_ring.h"

#include <algorithm>
#include <utility>

#include "base/bytes.h"
#include "base/text.h"

namespace msb::sandbox {
namespace {

constexpr size_t kMaxLine = 300;
// Registers and call traces that follow the line of a panic or an oops: 4 to 6 KiB a report, and an
// oops may be followed by the panic that it leads to.
constexpr size_t kReport = 16 * 1024;

std::string CleanLine(std::string_view line) {
  while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.remove_suffix(1);
  return Escape(line, kMaxLine);
}

}  // namespace

void ConsoleRing::Append(std::span<const std::byte> bytes) {
  total_ += bytes.size();
  if (bytes.size() > capacity_) bytes = bytes.last(capacity_);
  size_t grow = std::min(bytes.size(), capacity_ - ring_.size());
  ring_.insert(ring_.end(), bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(grow));
  for (std::byte byte : bytes.subspan(grow)) {
    ring_[next_] = byte;
    next_ = (next_ + 1) % capacity_;
  }
}

std::string ConsoleRing::Content() const {
  auto text = AsText(ring_);
  return Cat(text.substr(next_), text.substr(0, next_));
}

std::optional<std::string> ConsoleRing::PanicLine() const {
  std::string content = Content();
  std::string_view last = content;
  if (last.size() > kReport) last.remove_prefix(last.size() - kReport);
  for (std::string_view mark : {"Kernel panic - not syncing", "Oops:", "BUG: "}) {
    size_t at = last.rfind(mark);
    if (at == std::string_view::npos) continue;
    size_t end = last.find('\n', at);
    return CleanLine(last.substr(at, end - at));
  }
  return std::nullopt;
}

std::string ConsoleRing::Tail(size_t lines) const {
  std::string content = Content();
  std::vector<std::string> tail;
  std::string_view rest = content;
  while (!rest.empty() && tail.size() < lines) {
    size_t newline = rest.rfind('\n');
    std::string_view line = newline == std::string_view::npos ? rest : rest.substr(newline + 1);
    if (std::string clean = CleanLine(line); !clean.empty()) tail.push_back(std::move(clean));
    rest = newline == std::string_view::npos ? "" : rest.substr(0, newline);
  }
  std::reverse(tail.begin(), tail.end());
  return Join(tail, " | ");
}

std::string ConsoleText(std::string_view bytes) {
  std::string text;
  bool first = true;
  for (std::string_view line : Split(bytes, '\n')) {
    if (!std::exchange(first, false)) text += '\n';
    // Of the last piece too: its newline may come with the next bytes.
    if (line.ends_with('\r')) line.remove_suffix(1);
    text += Escape(line, line.size());
  }
  return text;
}

}  // namespace msb::sandbox
