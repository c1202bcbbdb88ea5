// SPDX-License-Identifier: Apache-2.0
// Start info (Xen, public/arch-x86/hvm/start_info.h), the command line's devices, requests that
// must always work, and the console as the way out.

#include "machine.h"

#include <linux/virtio_blk.h>

#include "console.h"
#include "cpu.h"

extern "C" uint64_t start_info_address;

namespace msb::test_guest {
namespace {

struct StartInfo {
  uint32_t magic, version, flags, module_count;
  uint64_t module_list, command_line, acpi_root, memory_map;
  uint32_t memory_map_entries, reserved;
};
struct Module {
  uint64_t address, size, command_line, reserved;
};
struct MapEntry {
  uint64_t address, size;
  uint32_t type, reserved;
};

template <class T>
const T& At(uint64_t address) {
  // SAFETY: what the start info points to lies in memory, mapped where it is.
  return *reinterpret_cast<const T*>(address);
}

// Moves `text` behind `word` when it begins with it.
bool Skip(const char*& text, const char* word) {
  const char* at = text;
  for (; *word != '\0'; word++, at++)
    if (*at != *word) return false;
  text = at;
  return true;
}

uint64_t Number(const char*& text) {
  uint64_t base = Skip(text, "0x") ? 16 : 10, value = 0;
  for (;; text++) {
    if (*text >= '0' && *text <= '9')
      value = value * base + static_cast<uint64_t>(*text - '0');
    else if (base == 16 && *text >= 'a' && *text <= 'f')
      value = value * base + static_cast<uint64_t>(*text - 'a' + 10);
    else
      return value;
  }
}

// The next `virtio_mmio.device=SIZE@ADDRESS:LINE` of a kernel's command line.
bool NextDevice(const char*& line, uint64_t& window, uint32_t& interrupt) {
  for (; *line != '\0'; line++) {
    if (!Skip(line, "virtio_mmio.device=")) continue;
    Number(line);
    if (!Skip(line, "@")) return false;
    window = Number(line);
    if (!Skip(line, ":")) return false;
    interrupt = static_cast<uint32_t>(Number(line));
    return true;
  }
  return false;
}

void Need(bool condition) {
  if (!condition) TripleFault();
}

}  // namespace

void Machine::Find() {
  auto& info = At<StartInfo>(start_info_address);
  // The family's name is the whole of what the machine has for an initramfs.
  Need(info.module_count == 1);
  auto& module = At<Module>(info.module_list);
  Need(module.size < sizeof family_);
  memcpy(family_, &At<char>(module.address), module.size);

  for (uint32_t i = 0; i < info.memory_map_entries; i++) {
    auto& entry = At<MapEntry>(info.memory_map + i * sizeof(MapEntry));
    if (entry.type == 1 && entry.address + entry.size > memory_bytes_)
      memory_bytes_ = entry.address + entry.size;
  }
  constexpr const char* kNames[kDevices] = {"console", "root", "upper", "rng", "balloon"};
  constexpr uint32_t kIds[kDevices] = {3, 2, 2, 4, 5};
  const char* line = &At<char>(info.command_line);
  for (uint32_t i = 0; i < kDevices; i++) {
    uint64_t window = 0;
    uint32_t interrupt = 0;
    Need(NextDevice(line, window, interrupt));
    drivers_[i].Bind(kNames[i], window, interrupt);
    Need(drivers_[i].Read(VIRTIO_MMIO_DEVICE_ID) == kIds[i]);
  }
}

bool Machine::StartAll() {
  bool good = true;
  for (Driver& driver : drivers_)
    if (&driver != &console() || !console_taken_) good = driver.Start() && good;
  return good;
}

bool Machine::ReadSector(Driver& disk, uint64_t sector, uint64_t& first) {
  // SAFETY: three parts of a page of ours, which the device reads and writes meanwhile.
  auto* header = reinterpret_cast<volatile virtio_blk_outhdr*>(answer_);
  header->type = VIRTIO_BLK_T_IN;
  header->sector = sector;
  volatile uint8_t* data = answer_ + 512;
  volatile uint8_t* status = answer_ + 1024;
  *status = 0xff;
  Descriptor chain[] = {{AddressOf(header), 16, 0, 0},
                        {AddressOf(data), 512, kWrite, 0},
                        {AddressOf(status), 1, kWrite, 0}};
  Used used;
  if (!disk.Do(0, chain, 3, used)) return false;
  first = ReadAt<uint64_t>(AddressOf(data));
  return used.head == 0 && used.written == 513 && *status == VIRTIO_BLK_S_OK;
}

bool Machine::Serves(Driver& driver) {
  Used used;
  uint64_t first = 0;
  if (&driver == &root()) {
    // Each sector of it begins with its number and a mark.
    return ReadSector(driver, 7, first) && first == (uint64_t{0x746f6f72} << 32 | 7);
  }
  if (&driver == &upper()) return ReadSector(driver, 3, first);
  if (&driver == &rng()) {
    memset(answer_, 0, 64);
    Descriptor chain[] = {{AddressOf(answer_), 64, kWrite, 0}};
    if (!driver.Do(0, chain, 1, used) || used.head != 0 || used.written != 64) return false;
    for (uint8_t byte : answer_)
      if (byte != 0) return true;
    return false;
  }
  if (&driver == &balloon()) {
    // A page given up reads as zeros.
    memset(answer_, 0x5a, sizeof answer_);
    auto page = static_cast<uint32_t>(AddressOf(answer_) / 4096);
    memcpy(line_, &page, sizeof page);
    Descriptor chain[] = {{AddressOf(line_), sizeof page, 0, 0}};
    if (!driver.Do(0, chain, 1, used)) return false;
    Barrier();
    return ReadAt<uint64_t>(AddressOf(answer_)) == 0 && driver.Do(1, chain, 1, used);
  }
  return !driver.NeedsReset();
}

const char* Machine::OthersFail(const Driver& abused) {
  for (Driver& driver : drivers_)
    if (&driver != &abused && !(console_taken_ && &driver == &console()) && !Serves(driver))
      return driver.name();
  return nullptr;
}

void Machine::Send() {
  while (sent_ < said_size_) {
    size_t size = said_size_ - sent_ < sizeof line_ ? said_size_ - sent_ : sizeof line_;
    memcpy(line_, said_ + sent_, size);
    Descriptor chain[] = {{AddressOf(line_), static_cast<uint32_t>(size), 0, 0}};
    Used used;
    // Without a console nobody learns why.
    Need(console().Do(kConsoleTransmit, chain, 1, used));
    sent_ += size;
  }
}

void Machine::Say(const Text& line) {
  Need(said_size_ + line.size() + 2 <= sizeof said_);
  // Whatever an abuse made the console say stays on a line of its own.
  said_[said_size_++] = '\n';
  memcpy(said_ + said_size_, line.data(), line.size());
  said_size_ += line.size();
  said_[said_size_++] = '\n';
  if (!console_taken_) Send();
}

void Machine::GiveConsoleBack() {
  console_taken_ = false;
  Need(console().Start());
  Send();
}

void Machine::WaitForHost() {
  Descriptor chain[] = {{AddressOf(answer_), sizeof answer_, kWrite, 0}};
  for (;;) {
    Used used;
    Need(console().Do(kConsoleReceive, chain, 1, used) && used.written <= sizeof answer_);
    for (uint32_t i = 0; i < used.written; i++)
      if (ReadAt<char>(AddressOf(answer_) + i) == kGo) return;
  }
}

void Machine::Ask(const char* what) {
  Say(Text() << "ask " << what);
  WaitForHost();
}

void Machine::WaitUntilRead() {
  constexpr char kSync[] = "sync;";
  constexpr uint32_t kBytes = sizeof kSync - 1;
  Used used;
  Need(OpenAgentPort(console(), AddressOf(line_)));
  memcpy(line_, kSync, kBytes);
  Descriptor chain[] = {{AddressOf(line_), kBytes, 0, 0}};
  Need(console().Do(kAgentTransmit, chain, 1, used));
  WaitForHost();
}

void Machine::Begin() {
  Need(StartAll());
  Say(Text() << "begin " << family_);
  WaitForHost();
}

void Machine::Case(const char* device, const char* what, bool ok, const Text& detail) {
  cases_++;
  Text line;
  line << "case " << device << "/" << what << (ok ? " ok" : " bad");
  if (detail.size() > 0) line << " " << detail;
  Say(line);
}

void Machine::CaseNeedsReset(Driver& driver, const char* what) {
  bool told = driver.WaitNeedsReset();
  uint32_t pending = driver.Read(VIRTIO_MMIO_INTERRUPT_STATUS);
  Text detail;
  if (!told) detail << "status " << Hex{driver.Status()};
  bool interrupted = told && driver.WaitInterrupt();
  bool ok = interrupted && (pending & VIRTIO_MMIO_INT_CONFIG) != 0;
  if (told && !ok) detail << "interrupt status " << Hex{pending};
  if (told && !interrupted) detail << ", no interrupt came";
  CaseSurvives(driver, what, ok, detail);
}

void Machine::CaseSurvives(Driver& driver, const char* what, bool ok, const Text& detail) {
  if (const char* other = OthersFail(driver))
    return Case(driver, what, false, Text() << "meanwhile stood still: " << other);
  if (&driver == &console()) {
    Case(driver, what, ok, detail);
    GiveConsoleBack();
    TakeConsole();
    return;
  }
  if (!driver.Start())
    return Case(driver, what, false, Text() << "after reset: status " << Hex{driver.Status()});
  if (!Serves(driver)) return Case(driver, what, false, Text() << "serves no more after its reset");
  Case(driver, what, ok, detail);
}

void Machine::End() {
  Need(StartAll());
  Say(Text() << "done " << cases_);
  WaitForHost();
  TripleFault();
}

}  // namespace msb::test_guest
