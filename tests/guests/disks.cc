// SPDX-License-Identifier: Apache-2.0
// Disks: requests that a disk cannot do, or must not (virtio 1.2, 5.2.6).

#include <linux/virtio_blk.h>

#include "cpu.h"
#include "machine.h"

namespace msb::test_guest {
namespace {

constexpr uint32_t kSector = 512;
constexpr uint8_t kNoStatus = 0xee;
constexpr uint64_t kDisk = 32768;  // Sectors, as the test makes them.

// What the device has to say of a request.
enum class Expect { kOk, kIoError, kUnsupported, kNeedsReset };

// The parts of a request, in pages of their own.
struct Parts {
  uint64_t header;
  uint64_t data;
  uint64_t status;
};

struct Request {
  const char* name;
  Expect root, upper;
  uint32_t type;
  uint64_t sector;
  uint32_t bytes;
  bool device_writes;
};

Parts PartsOf(Machine& machine) {
  uint64_t first = AddressOf(machine.scratch());
  return {first, first + 4096, first + Machine::kScratchBytes - 4096};
}

void WriteHeader(const Parts& parts, uint32_t type, uint64_t sector) {
  WriteAt(parts.header, type);
  WriteAt(parts.header + 4, uint32_t{0});
  WriteAt(parts.header + 8, sector);
  WriteAt(parts.status, kNoStatus);
}

// Sends the chain and judges what came back.
void Judge(Machine& machine, Driver& disk, const char* name, const Descriptor* chain,
           uint32_t count, uint64_t status_at, Expect expect) {
  if (expect == Expect::kNeedsReset) {
    Ring& ring = disk.ring(0);
    for (uint32_t i = 0; i < count; i++) {
      Descriptor descriptor = chain[i];
      if (i + 1 < count) descriptor.flags = static_cast<uint16_t>(descriptor.flags | kNext);
      descriptor.next = static_cast<uint16_t>(i + 1);
      ring.Set(i, descriptor);
    }
    ring.Announce(0);
    disk.Notify(0);
    return machine.CaseNeedsReset(disk, name);
  }
  Used used{};
  bool answered = disk.Do(0, chain, count, used);
  auto status = ReadAt<uint8_t>(status_at);
  auto wanted = static_cast<uint8_t>(expect);
  Text detail;
  if (!answered)
    detail << "no answer, status " << Hex{disk.Status()};
  else if (status != wanted)
    detail << "answer " << status << ", not " << wanted;
  machine.CaseSurvives(disk, name, detail.size() == 0, detail);
}

using E = Expect;
constexpr uint32_t kIn = VIRTIO_BLK_T_IN, kOut = VIRTIO_BLK_T_OUT;
constexpr Request kRequests[] = {
    {"read", E::kOk, E::kOk, kIn, 5, kSector, true},
    {"read-of-many", E::kOk, E::kOk, kIn, 5, 512 * kSector, true},
    {"write", E::kIoError, E::kOk, kOut, 5, kSector, false},
    {"type-unknown", E::kUnsupported, E::kUnsupported, 77, 0, kSector, true},
    {"type-all-ones", E::kUnsupported, E::kUnsupported, ~0u, 0, kSector, true},
    {"type-scsi", E::kUnsupported, E::kUnsupported, 2, 0, kSector, true},
    {"type-zone-report", E::kUnsupported, E::kUnsupported, 16, 0, kSector, true},
    {"type-secure-erase", E::kUnsupported, E::kUnsupported, 14, 0, kSector, false},
    {"read-last-sector", E::kOk, E::kOk, kIn, kDisk - 1, kSector, true},
    {"read-one-too-far", E::kIoError, E::kIoError, kIn, kDisk - 1, 2 * kSector, true},
    {"read-past-the-end", E::kIoError, E::kIoError, kIn, kDisk, kSector, true},
    {"read-far-past-the-end", E::kIoError, E::kIoError, kIn, 1ull << 40, kSector, true},
    {"read-sector-wraps", E::kIoError, E::kIoError, kIn, ~0ull, kSector, true},
    {"read-bytes-wrap", E::kIoError, E::kIoError, kIn, 1ull << 55, kSector, true},
    {"read-offset-negative", E::kIoError, E::kIoError, kIn, 1ull << 54, kSector, true},
    {"read-part-of-a-sector", E::kIoError, E::kIoError, kIn, 0, kSector - 1, true},
    {"read-a-sector-and-a-byte", E::kIoError, E::kIoError, kIn, 0, kSector + 1, true},
    {"read-into-readable", E::kIoError, E::kIoError, kIn, 0, kSector, false},
    {"write-from-writable", E::kIoError, E::kIoError, kOut, 0, kSector, true},
    {"write-past-the-end", E::kIoError, E::kIoError, kOut, kDisk, kSector, false},
    {"write-one-too-far", E::kIoError, E::kIoError, kOut, kDisk - 1, 2 * kSector, false},
    {"write-sector-wraps", E::kIoError, E::kIoError, kOut, ~0ull, kSector, false},
    {"write-part-of-a-sector", E::kIoError, E::kIoError, kOut, 0, 100, false},
    {"flush", E::kOk, E::kOk, VIRTIO_BLK_T_FLUSH, 0, kSector, true},
    {"flush-of-a-sector", E::kOk, E::kOk, VIRTIO_BLK_T_FLUSH, 1ull << 60, kSector, false},
    {"id-of-one-byte", E::kOk, E::kOk, VIRTIO_BLK_T_GET_ID, 0, 1, true},
    {"id-of-much", E::kOk, E::kOk, VIRTIO_BLK_T_GET_ID, 0, 4096, true},
    {"id-into-readable", E::kOk, E::kOk, VIRTIO_BLK_T_GET_ID, 0, 20, false},
    {"discard-of-no-range", E::kUnsupported, E::kIoError, VIRTIO_BLK_T_DISCARD, 0, 16, true},
    {"discard-of-half-a-range", E::kUnsupported, E::kIoError, VIRTIO_BLK_T_DISCARD, 0, 8, false},
    {"discard-of-many-ranges", E::kUnsupported, E::kIoError, VIRTIO_BLK_T_DISCARD, 0, 33 * 16,
     false},
    {"zeroes-of-many-ranges", E::kUnsupported, E::kIoError, VIRTIO_BLK_T_WRITE_ZEROES, 0, 65536,
     false},
};

void SendRequests(Machine& machine, Driver& disk) {
  bool is_root = &disk == &machine.root();
  Parts parts = PartsOf(machine);
  for (const Request& request : kRequests) {
    memset(machine.scratch(), 0, 128 * 1024);
    WriteHeader(parts, request.type, request.sector);
    Descriptor chain[] = {
        {parts.header, 16, 0, 0},
        {parts.data, request.bytes, request.device_writes ? kWrite : uint16_t{0}, 0},
        {parts.status, 1, kWrite, 0}};
    Judge(machine, disk, request.name, chain, 3, parts.status,
          is_root ? request.root : request.upper);
  }
}

struct Range {
  const char* name;
  Expect discard, zeroes;
  uint64_t sector;
  uint32_t sectors;
  uint32_t flags;
};
constexpr Range kRanges[] = {
    {"of-nothing", E::kOk, E::kOk, 0, 0, 0},
    {"of-a-sector", E::kOk, E::kOk, 8, 1, 0},
    {"unaligned", E::kOk, E::kOk, 13, 11, 0},
    {"of-the-disk", E::kOk, E::kOk, 0, kDisk, 0},
    {"of-nothing-at-the-end", E::kOk, E::kOk, kDisk, 0, 0},
    {"one-too-far", E::kIoError, E::kIoError, 1, kDisk, 0},
    {"past-the-end", E::kIoError, E::kIoError, kDisk, 1, 0},
    {"huge", E::kIoError, E::kIoError, 0, ~0u, 0},
    {"wraps", E::kIoError, E::kIoError, ~0ull, 2, 0},
    {"bytes-wrap", E::kIoError, E::kIoError, 1ull << 55, 8, 0},
    {"with-unmap", E::kUnsupported, E::kOk, 16, 8, 1},
    {"with-unknown-flags", E::kUnsupported, E::kUnsupported, 16, 8, 0x80000002},
};

void SendRanges(Machine& machine, Driver& disk, uint32_t type, const char* prefix) {
  Parts parts = PartsOf(machine);
  bool is_discard = type == VIRTIO_BLK_T_DISCARD;
  auto write_range = [&](uint32_t index, const Range& range) {
    uint64_t at = parts.data + 16 * index;
    WriteAt(at, range.sector);
    WriteAt(at + 8, range.sectors);
    WriteAt(at + 12, range.flags);
  };
  auto send = [&](const char* what, uint32_t count, Expect expect) {
    WriteHeader(parts, type, 0);
    Descriptor chain[] = {
        {parts.header, 16, 0, 0}, {parts.data, 16 * count, 0, 0}, {parts.status, 1, kWrite, 0}};
    Text name;
    name << prefix << "-" << what;
    Judge(machine, disk, name.c_str(), chain, 3, parts.status, expect);
  };
  for (const Range& range : kRanges) {
    write_range(0, range);
    send(range.name, 1, is_discard ? range.discard : range.zeroes);
  }
  // As many as may be, each over the one before.
  for (uint32_t i = 0; i < 32; i++) write_range(i, {"", E::kOk, E::kOk, i, 64, 0});
  send("overlapping", 32, E::kOk);
  // One bad among good ones: none is done.
  write_range(31, {"", E::kIoError, E::kIoError, kDisk, 1, 0});
  send("last-is-bad", 32, E::kIoError);
}

// Chains whose shape is wrong for a request.
void SendShapes(Machine& machine, Driver& disk) {
  Parts parts = PartsOf(machine);
  auto judge = [&](const char* name, const Descriptor* chain, uint32_t count, Expect expect,
                   uint64_t status_at) {
    Judge(machine, disk, name, chain, count, status_at, expect);
    WriteHeader(parts, kIn, 5);
  };
  WriteHeader(parts, kIn, 5);
  Descriptor no_header[] = {{parts.data, kSector, kWrite, 0}, {parts.status, 1, kWrite, 0}};
  judge("no-header", no_header, 2, E::kNeedsReset, 0);
  Descriptor short_header[] = {{parts.header, 15, 0, 0}, {parts.status, 1, kWrite, 0}};
  judge("short-header", short_header, 2, E::kNeedsReset, 0);
  Descriptor no_status[] = {{parts.header, 16, 0, 0}};
  judge("no-status", no_status, 1, E::kNeedsReset, 0);
  Descriptor readable_status[] = {
      {parts.header, 16, 0, 0}, {parts.data, kSector, 0, 0}, {parts.status, 1, 0, 0}};
  judge("status-to-read", readable_status, 3, E::kNeedsReset, 0);
  Descriptor only_status[] = {{parts.header, 16, 0, 0}, {parts.status, 1, kWrite, 0}};
  judge("nothing-but-status", only_status, 2, E::kIoError, parts.status);
  // The status is the last byte, wherever that lies.
  Descriptor joined[] = {{parts.header, 16, 0, 0}, {parts.data, kSector + 1, kWrite, 0}};
  judge("status-behind-data", joined, 2, E::kOk, parts.data + kSector);
  // In pieces of a byte: header, data and all.
  Descriptor bytes[16 + 33];
  for (uint32_t i = 0; i < 16; i++) bytes[i] = {parts.header + i, 1, 0, 0};
  for (uint32_t i = 0; i < 32; i++) bytes[16 + i] = {parts.data + 16 * i, 16, kWrite, 0};
  bytes[48] = {parts.status, 1, kWrite, 0};
  judge("in-crumbs", bytes, 49, E::kOk, parts.status);
}

// A device that needs a reset takes nothing more, whatever else waits in its queue.
void SendAfterMistake(Machine& machine, Driver& disk) {
  Parts parts = PartsOf(machine);
  WriteHeader(parts, kIn, 5);
  Ring& ring = disk.ring(0);
  uint16_t before = ring.used_index();
  ring.Set(0, {parts.header, 16, 0, 0});
  ring.Set(1, {parts.header, 16, kNext, 2});
  ring.Set(2, {parts.data, kSector, kWrite | kNext, 3});
  ring.Set(3, {parts.status, 1, kWrite, 0});
  ring.Announce(0);
  disk.Notify(0);
  disk.WaitNeedsReset();
  ring.Announce(1);
  disk.Notify(0);
  bool taken = WaitFor([&] { return ring.used_index() != before; }, 20 * kMilliseconds);
  Text detail;
  if (taken) detail << "a request was done after the mistake";
  machine.CaseSurvives(disk, "deaf-after-a-mistake", !taken, detail);
}

// Requests that lie in the queue, or in one another.
void SendOverlapping(Machine& machine, Driver& disk) {
  Parts parts = PartsOf(machine);
  QueuePlace place = disk.ring(0).place();
  struct Overlap {
    const char* name;
    uint64_t data, status;
    uint32_t bytes;
  };
  const Overlap overlaps[] = {
      {"data-over-status", parts.status & ~uint64_t{0xfff}, parts.status, kSector},
      {"data-over-header", parts.header, parts.status, kSector},
      {"status-over-header", parts.data, parts.header, kSector},
      {"status-in-used-index", parts.data, place.used + 2, kSector},
      {"status-in-available-index", parts.data, place.available + 2, kSector},
      {"data-over-table", place.descriptors, parts.status, 4096},
      {"data-over-available", place.available, parts.status, kSector},
      {"data-over-used", place.used, parts.status, kSector},
  };
  for (const Overlap& overlap : overlaps) {
    WriteHeader(parts, kIn, 64);
    Ring& ring = disk.ring(0);
    ring.Set(0, {parts.header, 16, kNext, 1});
    ring.Set(1, {overlap.data, overlap.bytes, kWrite | kNext, 2});
    ring.Set(2, {overlap.status, 1, kWrite, 0});
    ring.Announce(0);
    disk.Notify(0);
    machine.CaseSurvives(disk, overlap.name);
  }
}

// Much by one request, which others must not wait for.
void SendLong(Machine& machine, Driver& disk) {
  Parts parts = PartsOf(machine);
  auto bytes = static_cast<uint32_t>(kDisk / 2 * kSector);
  uint64_t unused = machine.memory_bytes() / 2;
  WriteHeader(parts, kIn, 0);
  Descriptor whole[] = {{parts.header, 16, 0, 0},
                        {unused, bytes, kWrite, 0},
                        {unused, bytes, kWrite, 0},
                        {parts.status, 1, kWrite, 0}};
  Judge(machine, disk, "the-disk-at-once", whole, 4, parts.status, E::kOk);
  Descriptor more[] = {{parts.header, 16, 0, 0},
                       {unused, bytes * 2, kWrite, 0},
                       {unused, bytes * 2, kWrite, 0},
                       {parts.status, 1, kWrite, 0}};
  WriteHeader(parts, kIn, 0);
  Judge(machine, disk, "more-than-the-disk", more, 4, parts.status, E::kIoError);
}

}  // namespace

void AbuseDisks(Machine& machine) {
  Driver* disks[] = {&machine.root(), &machine.upper()};
  for (Driver* disk : disks) {
    SendRequests(machine, *disk);
    SendShapes(machine, *disk);
    SendAfterMistake(machine, *disk);
    SendOverlapping(machine, *disk);
    SendLong(machine, *disk);
  }
  SendRanges(machine, machine.upper(), VIRTIO_BLK_T_DISCARD, "discard");
  SendRanges(machine, machine.upper(), VIRTIO_BLK_T_WRITE_ZEROES, "zeroes");
}

}  // namespace msb::test_guest
