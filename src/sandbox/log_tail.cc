// SPDX-License-Identifier: Apache-2.0
// Counts newlines backwards.

#include "sandbox/log_tail.h"

#include <unistd.h>

#include <algorithm>
#include <array>

#include "sys/file.h"

namespace msb::sandbox {

Result<uint64_t> SeekToTail(BorrowedFd file, uint64_t lines) {
  auto seek = [&](off_t to) -> Result<void> {
    if (::lseek(file.get(), to, SEEK_SET) == -1) return Error::Errno("lseek in the log");
    return {};
  };
  off_t end = TRY(sys::Stat(file)).st_size;
  if (lines == 0) {
    TRY(seek(end));
    return 0;
  }
  std::array<std::byte, 64 * 1024> buffer;
  uint64_t seen = 0;
  for (off_t at = end; at > 0;) {
    off_t begin = std::max<off_t>(0, at - static_cast<off_t>(buffer.size()));
    auto piece = std::span(buffer).first(static_cast<size_t>(at - begin));
    TRY(sys::ReadExactlyAt(file, piece, begin));
    for (size_t i = piece.size(); i-- > 0;) {
      off_t position = begin + static_cast<off_t>(i);
      // The newline that ends the last line begins none.
      if (piece[i] != std::byte{'\n'} || position == end - 1) continue;
      if (++seen < lines) continue;
      TRY(seek(position + 1));
      return lines;
    }
    at = begin;
  }
  TRY(seek(0));
  return end > 0 ? seen + 1 : 0;
}

}  // namespace msb::sandbox
