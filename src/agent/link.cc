// SPDX-License-Identifier: Apache-2.0
// Reading and writing a connection.

#include "agent/link.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/text.h"

namespace msb::agent {
namespace {

using protocol::kHeaderSize;
using protocol::kMaxFrame;

// The virtio port hands out at most 4 KiB a read; a frame of 32 KiB should not take eight rounds of
// the loop.
constexpr int kReadsPerRound = 9;
// Of a body: below this a copy, which lets others share the write, costs less than a write.
constexpr size_t kWorthAWrite = kMaxFrame / 2;
// A peer that asks and does not listen is not read any more.
constexpr size_t kMaxChunks = 8;

}  // namespace

Result<void> Link::Attach(UniqueFd fd) {
  Detach();
  reader_.Reset();
  fd_ = std::move(fd);
  ++connection_;
  auto watch =
      loop_.Watch(fd_, event::Interest::kRead, [this](event::Ready ready) { OnReady(ready); });
  if (!watch.ok()) {
    fd_.Reset();
    return std::move(watch).error();
  }
  watch_ = *std::move(watch);
  return {};
}

void Link::Detach() {
  watch_.Cancel();
  fd_.Reset();
  chunks_.clear();
  written_ = 0;
  blocked_ = false;
  broken_.clear();
}

size_t Link::RoomInWrite() const {
  return chunks_.empty() ? kMaxFrame : kMaxFrame - std::min(kMaxFrame, chunks_.back().size());
}

void Link::Send(const protocol::Header& header, protocol::ByteSpan body) {
  if (!fd_) return;
  bool begun = chunks_.size() == 1 && written_ > 0;
  if (chunks_.empty() || begun || kHeaderSize + body.size() > RoomInWrite()) {
    chunks_.push_back(std::move(spare_));
    chunks_.back().clear();
    spare_ = {};
  }
  protocol::AppendFrame(chunks_.back(), header, body);
}

void Link::SendFramed(const protocol::Header& header, std::span<std::byte> framed) {
  auto body = framed.subspan(kHeaderSize);
  if (!fd_ || blocked_ || !broken_.empty() || !chunks_.empty() || body.size() < kWorthAWrite) {
    Send(header, body);
    return;
  }
  protocol::Header sized = header;
  sized.length = static_cast<uint16_t>(body.size());
  std::array<std::byte, kHeaderSize> covered;
  std::copy_n(framed.begin(), kHeaderSize, covered.begin());
  protocol::EncodeHeader(sized, framed.first<kHeaderSize>());
  if (size_t taken = WriteSome(framed); taken < framed.size()) {
    chunks_.emplace_back(framed.begin() + static_cast<ptrdiff_t>(taken), framed.end());
    Flush();
  }
  std::copy(covered.begin(), covered.end(), framed.begin());
}

size_t Link::WriteSome(protocol::ByteSpan bytes) {
  while (true) {
    ssize_t n = ::write(fd_.get(), bytes.data(), bytes.size());
    if (n >= 0) return static_cast<size_t>(n);
    if (errno == EINTR) continue;
    blocked_ = errno == EAGAIN;
    if (blocked_) return 0;
    // The handler may be in the middle of anything: the end is told from the loop.
    const char* text = strerrordesc_np(errno);
    broken_ = Cat("write: ", text != nullptr ? text : "unknown error");
    loop_.Post([this, connection = connection_] {
      if (connection == connection_ && !broken_.empty()) End(broken_);
    });
    return 0;
  }
}

void Link::Flush() {
  while (fd_ && !blocked_ && broken_.empty() && !chunks_.empty()) {
    const auto& chunk = chunks_.front();
    written_ += WriteSome(std::span(chunk).subspan(written_));
    if (written_ < chunk.size()) continue;
    spare_ = std::move(chunks_.front());
    chunks_.pop_front();
    written_ = 0;
  }
  UpdateInterest();
}

void Link::UpdateInterest() {
  if (!fd_) return;
  bool read = chunks_.size() <= kMaxChunks;
  auto interest = static_cast<event::Interest>((read ? 1 : 0) | (blocked_ ? 2 : 0));
  (void)watch_.SetInterest(interest);
}

void Link::OnReady(event::Ready ready) {
  uint64_t connection = connection_;
  if (ready.writable && blocked_) {
    blocked_ = false;
    Flush();
    if (!blocked_) handler_.OnWritable();
  }
  if (fd_ && connection == connection_ && ready.readable && chunks_.size() <= kMaxChunks)
    ReadSome();
}

void Link::ReadSome() {
  for (int i = 0; i < kReadsPerRound; ++i) {
    auto space = reader_.Space();
    ssize_t n = ::read(fd_.get(), space.data(), space.size());
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) return End(n == 0 ? "the host closed the channel" : Error::Errno("read").message());
    reader_.Filled(static_cast<size_t>(n));
    uint64_t connection = connection_;
    if (!Dispatch()) return;
    handler_.OnBatch();
    if (connection != connection_ || !fd_) return;
    // Likely all there was; if not, the loop says so.
    if (reader_.pending() == 0) return;
  }
}

bool Link::Dispatch() {
  uint64_t connection = connection_;
  while (true) {
    auto frame = reader_.Next();
    if (frame.ok() && !frame->has_value()) return true;
    auto taken = frame.ok() ? handler_.OnFrame(**frame) : Result<void>(std::move(frame).error());
    if (connection != connection_ || !fd_) return false;
    if (taken.ok()) continue;
    End(Cat("fault of the host: ", taken.error().message()));
    return false;
  }
}

void Link::End(const std::string& why) {
  std::string reason = why;
  Detach();
  handler_.OnEnded(reason);
}

}  // namespace msb::agent
