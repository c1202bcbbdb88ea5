// SPDX-License-Identifier: Apache-2.0
// Entries of the MP table, in the order that the specification wants: by type.

#include "vmm/arch/x86_64/mp_table.h"

#include <algorithm>
#include <numeric>

#include "base/bytes.h"
#include "base/check.h"
#include "vmm/arch/x86_64/layout.h"

namespace msb::vmm {
namespace {

constexpr uint8_t kSpecRevision = 4;  // 1.4.
constexpr size_t kPointerSize = 16;
constexpr size_t kHeaderSize = 44;
constexpr uint8_t kLocalApicVersion = 0x14, kIoApicVersion = 0x11;
constexpr uint8_t kBus = 0;
constexpr uint8_t kAllLocalApics = 0xff;

enum EntryType : uint8_t { kProcessor, kBusEntry, kIoApic, kIoInterrupt, kLocalInterrupt };
enum InterruptType : uint8_t { kVectored = 0, kNonMaskable = 1, kExternal = 3 };

// All bytes of a checked range add up to zero.
uint8_t Checksum(std::span<const std::byte> bytes) {
  unsigned sum = std::accumulate(bytes.begin(), bytes.end(), 0u, [](unsigned total, std::byte b) {
    return total + std::to_integer<unsigned>(b);
  });
  return static_cast<uint8_t>(0x100 - (sum & 0xff));
}

void AddInterrupt(ByteWriter& out, EntryType entry, InterruptType type, uint8_t line,
                  uint8_t target, uint8_t pin) {
  out.Number<uint8_t>(entry);
  out.Number<uint8_t>(type);
  out.Number<uint16_t>(0);  // Polarity and trigger as the bus has them.
  out.Number<uint8_t>(kBus);
  out.Number(line);
  out.Number(target);
  out.Number(pin);
}

uint16_t AddEntries(ByteWriter& out, uint32_t cpus, uint32_t pins) {
  for (uint32_t cpu = 0; cpu < cpus; cpu++) {
    out.Number<uint8_t>(kProcessor);
    out.Number(static_cast<uint8_t>(cpu));
    out.Number(kLocalApicVersion);
    out.Number<uint8_t>(cpu == 0 ? 3 : 1);  // Usable; the first one starts the others.
    out.Number<uint32_t>(0);                // Signature and features: CPUID has them.
    out.Number<uint32_t>(0);
    out.Number<uint64_t>(0);
  }
  out.Number<uint8_t>(kBusEntry);
  out.Number(kBus);
  out.Bytes(AsBytes("ISA   "));
  auto io_apic = static_cast<uint8_t>(cpus);
  out.Number<uint8_t>(kIoApic);
  out.Number(io_apic);
  out.Number(kIoApicVersion);
  out.Number<uint8_t>(1);  // Usable.
  out.Number(static_cast<uint32_t>(kIoApicAddress.value));
  for (uint32_t pin = 1; pin < pins; pin++)
    AddInterrupt(out, kIoInterrupt, kVectored, static_cast<uint8_t>(pin), io_apic,
                 static_cast<uint8_t>(pin));
  AddInterrupt(out, kLocalInterrupt, kExternal, 0, 0, 0);
  AddInterrupt(out, kLocalInterrupt, kNonMaskable, 0, kAllLocalApics, 1);
  return static_cast<uint16_t>(cpus + 2 + (pins - 1) + 2);
}

}  // namespace

std::vector<std::byte> MakeMpTable(uint32_t cpus, uint32_t pins) {
  CHECK(cpus >= 1 && cpus <= kMaxCpus && pins >= 1 && pins <= 24);
  ByteWriter entries;
  uint16_t count = AddEntries(entries, cpus, pins);
  auto table_address = static_cast<uint32_t>(kMpTableAddress.value + kPointerSize);

  ByteWriter out;
  out.Bytes(AsBytes("_MP_"));
  out.Number(table_address);
  out.Number<uint8_t>(kPointerSize / 16);
  out.Number(kSpecRevision);
  out.Number<uint8_t>(0);   // Checksum.
  out.Number<uint8_t>(0);   // There is a table, none of the default configurations.
  out.Number<uint32_t>(0);  // Virtual wire mode.

  out.Bytes(AsBytes("PCMP"));
  out.Number(static_cast<uint16_t>(kHeaderSize + entries.bytes().size()));
  out.Number(kSpecRevision);
  out.Number<uint8_t>(0);  // Checksum.
  out.Bytes(AsBytes("MICROSBXMICROVM     "));
  out.Number<uint32_t>(0);  // No table of an OEM.
  out.Number<uint16_t>(0);
  out.Number(count);
  out.Number(kLocalApicAddress);
  out.Number<uint32_t>(0);  // No extended table, reserved.
  out.Bytes(entries.bytes());

  auto bytes = std::move(out).Take();
  auto all = std::span(bytes);
  bytes[10] = std::byte{Checksum(all.first(kPointerSize))};
  bytes[kPointerSize + 7] = std::byte{Checksum(all.subspan(kPointerSize))};
  return bytes;
}

Result<void> WriteMpTable(const GuestMemory& memory, uint32_t cpus, uint32_t pins) {
  auto table = MakeMpTable(cpus, pins);
  CHECK(table.size() <= kMpTableLimit);
  auto target = TRY(memory.Slice(kMpTableAddress, table.size()));
  std::copy(table.begin(), table.end(), target.begin());
  return {};
}

}  // namespace msb::vmm
