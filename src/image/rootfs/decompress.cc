// SPDX-License-Identifier: Apache-2.0
// Decompressors for archives: gzip by zlib, zstd by libzstd, told apart by their first bytes.
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/bytes.h"
#include "base/text.h"
#include "image/rootfs/input_stream.h"

namespace msb::rootfs {
namespace {

constexpr size_t kCompressedBuffer = size_t{128} << 10;
// Memory that a zstd frame may ask for: 128 MiB, what `zstd -d` accepts without --long.
constexpr int kMaxZstdWindowLog = 27;

Error Damaged(std::string_view what) {
  return Error(Code::kInvalidArgument, Cat("compressed archive: ", what));
}

// The compressed side: a buffer that a decoder eats from.
class Source {
 public:
  explicit Source(std::unique_ptr<ByteProducer> from)
      : from_(std::move(from)), buffer_(kCompressedBuffer) {}

  // What is there to eat; empty only at the end.
  Result<std::span<const std::byte>> Peek() {
    if (begin_ == end_) {
      begin_ = 0;
      end_ = TRY(from_->Produce(buffer_));
    }
    return std::span<const std::byte>(buffer_).subspan(begin_, end_ - begin_);
  }
  // Up to `count` bytes from the front of the input, before anything was eaten.
  Result<std::span<const std::byte>> PeekFront(size_t count) {
    while (end_ < count) {
      size_t got = TRY(from_->Produce(std::span(buffer_).subspan(end_)));
      if (got == 0) break;
      end_ += got;
    }
    return std::span<const std::byte>(buffer_).first(std::min(count, end_));
  }
  void Eat(size_t count) { begin_ += count; }
  ByteProducer& rest() { return *from_; }

 private:
  std::unique_ptr<ByteProducer> from_;
  std::vector<std::byte> buffer_;
  size_t begin_ = 0;
  size_t end_ = 0;
};

class Plain : public ByteProducer {
 public:
  explicit Plain(Source source) : source_(std::move(source)) {}
  Result<size_t> Produce(std::span<std::byte> to) override {
    if (front_done_) return source_.rest().Produce(to);
    std::span<const std::byte> front = TRY(source_.Peek());
    size_t count = std::min(front.size(), to.size());
    std::copy_n(front.begin(), count, to.begin());
    source_.Eat(count);
    front_done_ = count == front.size();
    return count;
  }

 private:
  Source source_;
  bool front_done_ = false;
};

// RFC 1952: members one after the other, zeros allowed behind the last (tapes and block devices).
class Gzip : public ByteProducer {
 public:
  explicit Gzip(Source source) : source_(std::move(source)) {}
  Gzip(const Gzip&) = delete;
  ~Gzip() override {
    if (open_) inflateEnd(&stream_);
  }

  Result<size_t> Produce(std::span<std::byte> to) override {
    for (;;) {
      if (ended_) return size_t{0};
      std::span<const std::byte> in = TRY(source_.Peek());
      if (in.empty()) {
        if (in_member_) return Damaged("gzip data ends in the middle");
        ended_ = true;
        continue;
      }
      if (!in_member_) {
        if (in[0] == std::byte{0}) {
          TRY(SkipZeros());
          continue;
        }
        if (open_ && in[0] != std::byte{0x1f}) return Damaged("bytes after the gzip data");
        TRY(BeginMember());
      }
      size_t made = TRY(Inflate(in, to));
      if (made > 0) return made;
    }
  }

 private:
  Result<void> SkipZeros() {
    for (;;) {
      std::span<const std::byte> in = TRY(source_.Peek());
      if (in.empty()) return {};
      if (std::any_of(in.begin(), in.end(), [](std::byte b) { return b != std::byte{0}; }))
        return Damaged("bytes after the gzip data");
      source_.Eat(in.size());
    }
  }

  Result<void> BeginMember() {
    // 31: a 32 KiB window, and a gzip header is required.
    int result = open_ ? inflateReset(&stream_) : inflateInit2(&stream_, 31);
    if (result != Z_OK) return Error(Code::kResourceExhausted, "inflateInit2 failed");
    open_ = true;
    in_member_ = true;
    return {};
  }

  Result<size_t> Inflate(std::span<const std::byte> in, std::span<std::byte> to) {
    // SAFETY: zlib's Bytef is unsigned char, which may alias anything, and inflate only reads
    // next_in.
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(in.data()));
    stream_.avail_in = static_cast<uInt>(in.size());
    stream_.next_out = reinterpret_cast<Bytef*>(to.data());
    stream_.avail_out = static_cast<uInt>(to.size());
    int result = inflate(&stream_, Z_NO_FLUSH);
    source_.Eat(in.size() - stream_.avail_in);
    if (result == Z_STREAM_END) {
      in_member_ = false;
    } else if (result != Z_OK && result != Z_BUF_ERROR) {
      return Damaged(Cat("gzip: ", stream_.msg != nullptr ? stream_.msg : "damaged"));
    }
    return to.size() - stream_.avail_out;
  }

  Source source_;
  z_stream stream_{};
  bool open_ = false;
  bool in_member_ = false;
  bool ended_ = false;
};

struct FreeZstd {
  void operator()(ZSTD_DStream* stream) const { ZSTD_freeDStream(stream); }
};

class Zstd : public ByteProducer {
 public:
  using Stream = std::unique_ptr<ZSTD_DStream, FreeZstd>;

  Zstd(Source source, Stream stream) : source_(std::move(source)), stream_(std::move(stream)) {}

  static Result<std::unique_ptr<ByteProducer>> Create(Source source) {
    Stream stream(ZSTD_createDStream());
    if (!stream ||
        ZSTD_isError(ZSTD_DCtx_setParameter(stream.get(), ZSTD_d_windowLogMax, kMaxZstdWindowLog)))
      return Error(Code::kResourceExhausted, "ZSTD_createDStream failed");
    return std::make_unique<Zstd>(std::move(source), std::move(stream));
  }

  Result<size_t> Produce(std::span<std::byte> to) override {
    for (;;) {
      std::span<const std::byte> in = TRY(source_.Peek());
      // With no input left the decoder may still hold output of an unfinished frame.
      if (in.empty() && !in_frame_) return size_t{0};
      ZSTD_inBuffer input{in.data(), in.size(), 0};
      ZSTD_outBuffer output{to.data(), to.size(), 0};
      size_t result = ZSTD_decompressStream(stream_.get(), &output, &input);
      if (ZSTD_isError(result)) return Damaged(Cat("zstd: ", ZSTD_getErrorName(result)));
      source_.Eat(input.pos);
      in_frame_ = result != 0;
      if (output.pos > 0) return output.pos;
      if (in.empty() && in_frame_) return Damaged("zstd data ends in the middle");
    }
  }

 private:
  Source source_;
  Stream stream_;
  bool in_frame_ = false;
};

}  // namespace

Result<std::unique_ptr<ByteProducer>> Decompressed(std::unique_ptr<ByteProducer> from) {
  Source source(std::move(from));
  std::string_view front = AsText(TRY(source.PeekFront(6)));
  std::unique_ptr<ByteProducer> producer;
  if (front.starts_with("\x1f\x8b")) {
    producer = std::make_unique<Gzip>(std::move(source));
  } else if (front.starts_with("\x28\xb5\x2f\xfd") ||
             (front.size() >= 4 && (front[0] & '\xf0') == '\x50' &&
              front.substr(1, 3) == "\x2a\x4d\x18")) {  // Or a skippable frame first.
    return Zstd::Create(std::move(source));
  } else if (front.starts_with(std::string_view("\xfd\x37zXZ\0", 6)) || front.starts_with("BZh")) {
    return Error(Code::kUnimplemented,
                 "archive compressed with xz or bzip2: only gzip and zstd are read");
  } else {
    producer = std::make_unique<Plain>(std::move(source));
  }
  return producer;
}

}  // namespace msb::rootfs
