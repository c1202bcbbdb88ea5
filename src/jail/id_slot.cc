// SPDX-License-Identifier: Apache-2.0
// Claims an id by locking one byte of a file that root alone can open.

#include "jail/id_slot.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "base/text.h"
#include "sys/file.h"

namespace msb::jail {
namespace {

struct IdRange {
  uint64_t first, count;
};

// "alice:100000:65536" a line; lines of another shape reserve nothing.
Result<void> AddSubordinateRanges(const std::string& path, std::vector<IdRange>& ranges) {
  auto text = TRY(sys::FindFileAt(sys::Cwd(), path, 1 << 20));
  if (!text) return {};
  for (const std::string& line : Split(*text, '\n')) {
    auto fields = Split(line, ':');
    if (fields.size() != 3) continue;
    auto first = ParseNumber<uint64_t>(fields[1]);
    auto count = ParseNumber<uint64_t>(fields[2]);
    if (first && count && *count > 0) ranges.push_back({*first, *count});
  }
  return {};
}

Result<UniqueFd> OpenSlots(const std::string& directory, const char* file) {
  UniqueFd dir = TRY(sys::OpenPrivateDirectory(directory));
  return sys::OpenAt(dir, file, O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
}

// Of `count` runs of `size` ids from `first` on: a byte of `file` each.
struct Slots {
  const char* file;
  uint32_t first, size, count;
};

Result<IdSlot> Claim(const Slots& slots, const IdSlotSource& source) {
  std::vector<IdRange> taken;
  TRY(AddSubordinateRanges(source.subuid, taken));
  TRY(AddSubordinateRanges(source.subgid, taken));
  // A description of its own: locks of one description do not exclude each other.
  UniqueFd file = TRY(OpenSlots(source.directory, slots.file));
  for (uint32_t number = 0; number < slots.count; number++) {
    uint64_t id = slots.first + uint64_t{number} * slots.size;
    bool given_away = std::any_of(taken.begin(), taken.end(), [&](const IdRange& range) {
      return range.first < id + slots.size && (id < range.first || id - range.first < range.count);
    });
    if (given_away) continue;
    struct flock lock {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    lock.l_start = number;
    lock.l_len = 1;
    if (::fcntl(file.get(), F_OFD_SETLK, &lock) == 0)
      return IdSlot{number, static_cast<uint32_t>(id), std::move(file)};
    if (errno != EAGAIN && errno != EACCES) return Error::Errno("lock an id slot");
  }
  uint64_t last = slots.first + uint64_t{slots.count} * slots.size - 1;
  return Error(Code::kResourceExhausted,
               Cat("all ids from ", slots.first, " to ", last, " are in use or given to users in ",
                   source.subuid, " or ", source.subgid))
      .Remedy(Cat("stop some sandboxes, or take a part of that range out of ", source.subuid));
}

}  // namespace

Result<IdSlot> ClaimIdSlot(const IdSlotSource& source) {
  return Claim({"ids", kFirstSlotId, 1, kSlotCount}, source);
}

Result<IdSlot> ClaimIdRange(const IdSlotSource& source) {
  return Claim({"ranges", kFirstRangeId, kIdsOfRange, kRangeCount}, source);
}

}  // namespace msb::jail
