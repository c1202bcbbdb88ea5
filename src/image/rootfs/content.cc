// SPDX-License-Identifier: Apache-2.0
#include "image/rootfs/content.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/checked.h"
#include "image/rootfs/erofs_format.h"

namespace msb::rootfs {
namespace {

using erofs::kBlockBits;
using erofs::kBlockSize;

Result<void> CheckSegments(uint64_t size, std::span<const DataSegment> segments) {
  uint64_t end = 0;
  for (const DataSegment& segment : segments) {
    if (segment.length == 0 || segment.offset < end || segment.offset > size ||
        segment.length > size - segment.offset)
      return Error(Code::kInvalidArgument, "sparse map out of order or beyond the file's size");
    end = segment.offset + segment.length;
  }
  return {};
}

Result<void> Copy(ImageFile& image, DataSource& source, uint64_t length) {
  while (length > 0) {
    std::span<const std::byte> bytes = TRY(source.Read(length));
    TRY(image.Append(bytes));
    length -= bytes.size();
  }
  return {};
}

Result<std::string> ReadSmall(uint64_t size, std::span<const DataSegment> segments,
                              DataSource& source) {
  std::string small(size, '\0');
  for (const DataSegment& segment : segments) {
    for (uint64_t done = 0; done < segment.length;) {
      std::span<const std::byte> bytes = TRY(source.Read(segment.length - done));
      std::memcpy(small.data() + segment.offset + done, bytes.data(), bytes.size());
      done += bytes.size();
    }
  }
  return small;
}

// Walks the chunks of 2^`shift` bytes that hold data: visit(first, count) for each run of them.
template <class Visit>
void ForEachChunkRun(std::span<const DataSegment> segments, uint32_t shift, Visit visit) {
  uint64_t first = 0;
  uint64_t end = 0;  // The run so far is [first, end).
  for (const DataSegment& segment : segments) {
    uint64_t from = segment.offset >> shift;
    uint64_t to = ((segment.offset + segment.length - 1) >> shift) + 1;
    if (from > end || end == 0) {
      if (end > first) visit(first, end - first);
      first = from;
    }
    end = to;
  }
  if (end > first) visit(first, end - first);
}

// What a file costs in chunks of one size: 4 bytes a chunk for the map, and all of each chunk that
// holds any data. A terabyte of hole with a little data in it is cheapest at a few MiB a chunk.
uint64_t Cost(uint64_t size, std::span<const DataSegment> segments, uint32_t shift) {
  uint64_t chunks = ((size - 1) >> shift) + 1;
  uint64_t stored = 0;
  ForEachChunkRun(segments, shift, [&](uint64_t first, uint64_t count) {
    stored += std::min(AlignUp(size, kBlockSize), (first + count) << shift) - (first << shift);
  });
  return chunks * 4 + stored;
}

Result<void> StoreChunks(ImageFile& image, uint64_t size, std::span<const DataSegment> segments,
                         DataSource& source, ChunkMap& map) {
  uint32_t shift = kBlockBits + map.chunk_bits;
  ForEachChunkRun(segments, shift, [&](uint64_t first, uint64_t count) {
    map.runs.push_back({first, count, 0});
  });
  size_t at = 0;
  for (ChunkRun& run : map.runs) {
    run.start_block = image.block();
    uint64_t begin = run.first_chunk << shift;
    uint64_t end = std::min(AlignUp(size, kBlockSize), (run.first_chunk + run.chunks) << shift);
    uint64_t cursor = begin;
    for (; at < segments.size() && segments[at].offset < end; ++at) {
      TRY(image.AppendZeros(segments[at].offset - cursor));
      TRY(Copy(image, source, segments[at].length));
      cursor = segments[at].offset + segments[at].length;
    }
    TRY(image.AppendZeros(end - cursor));
  }
  return {};
}

}  // namespace

Result<Content> StoreContent(ImageFile& image, uint64_t size, std::span<const DataSegment> segments,
                             DataSource& source) {
  TRY(CheckSegments(size, segments));
  Content content{.size = size};
  if (size == 0) return content;
  if (size <= kSmallFile) {
    content.small = TRY(ReadSmall(size, segments, source));
    return content;
  }

  uint64_t plain = AlignUp(size, kBlockSize);
  uint64_t best = plain;
  uint32_t best_bits = 0;
  bool sparse = false;
  uint64_t data = 0;
  for (const DataSegment& segment : segments) data += segment.length;
  if (data + kBlockSize <= size) {
    for (uint32_t bits = 0; bits <= erofs::kMaxChunkBits; ++bits) {
      uint64_t cost = Cost(size, segments, kBlockBits + bits);
      if (cost >= best) continue;
      best = cost;
      best_bits = bits;
      sparse = true;
    }
  }
  if (sparse) {
    content.chunks = std::make_unique<ChunkMap>();
    content.chunks->chunk_bits = best_bits;
    TRY(StoreChunks(image, size, segments, source, *content.chunks));
    return content;
  }

  content.start_block = image.block();
  uint64_t cursor = 0;
  for (const DataSegment& segment : segments) {
    TRY(image.AppendZeros(segment.offset - cursor));
    TRY(Copy(image, source, segment.length));
    cursor = segment.offset + segment.length;
  }
  TRY(image.AppendZeros(plain - cursor));
  return content;
}

}  // namespace msb::rootfs
