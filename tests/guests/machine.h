// SPDX-License-Identifier: Apache-2.0
// The machine as its guest finds it: memory, devices, the family to run; and the reports, which go
// out through the console.
//
//   guest                              test
//   begin FAMILY                 ->          (takes a first measurement)
//                                <-    g, then as much else as a family wants
//   case DEVICE/WHAT ok|bad ...  ->          one line a case
//   ask WHAT                     ->          (does it)
//                                <-    g
//   "sync;" on the agent port    ->          (has read all that the console said)
//                                <-    g
//   done COUNT                   ->          (takes a second one)
//                                <-    g
//   triple fault: there is no other way out

#pragma once

#include <cstddef>
#include <cstdint>

#include "clock.h"
#include "text.h"
#include "virtio.h"

namespace msb::test_guest {

class Machine {
 public:
  static constexpr size_t kScratchBytes = 1 << 20;
  // The host's word to go on. Whatever else it sends is there to fill buffers.
  static constexpr char kGo = 'g';

  // Finds memory, devices and family in the start info. Ends the machine when something is missing.
  void Find();
  const char* family() const { return family_; }
  uint64_t memory_bytes() const { return memory_bytes_; }

  Driver& console() { return drivers_[0]; }
  Driver& root() { return drivers_[1]; }
  Driver& upper() { return drivers_[2]; }
  Driver& rng() { return drivers_[3]; }
  Driver& balloon() { return drivers_[4]; }
  static constexpr uint32_t kDevices = 5;
  Driver& driver(uint32_t index) { return drivers_[index]; }
  uint8_t* scratch() { return scratch_; }

  // Starts what is not under abuse.
  bool StartAll();
  // A request that shows the device at work. The console's is a line of the report.
  bool Serves(Driver& driver);
  // All devices but one; the name of the first that does not, or nullptr.
  const char* OthersFail(const Driver& abused);

  void Begin();
  // A line of the report.
  void Say(const Text& line);
  // Something that the test does before it gives its word.
  void Ask(const char* what);
  // Until the test has read what the console sent; what there is no room for would be dropped. Of a
  // console that runs, taken or not. Opens the agent port.
  void WaitUntilRead();
  // One case. `device` and `what` are its name: words without spaces.
  void Case(const char* device, const char* what, bool ok, const Text& detail = {});
  void Case(const Driver& driver, const char* what, bool ok, const Text& detail = {}) {
    Case(driver.name(), what, ok, detail);
  }
  // Runs a case that ought to cost the device a reset: `abuse` has been done and told. Others serve
  // meanwhile, and after a reset the device does too.
  void CaseNeedsReset(Driver& driver, const char* what);
  // Whatever the device made of it: others serve, and after a reset it does too.
  void CaseSurvives(Driver& driver, const char* what, bool ok = true, const Text& detail = {});
  [[noreturn]] void End();

  // The console is under abuse: reports wait until it is given back.
  void TakeConsole() { console_taken_ = true; }
  void GiveConsoleBack();

 private:
  void Send();
  void WaitForHost();
  bool ReadSector(Driver& disk, uint64_t sector, uint64_t& first);

  Driver drivers_[kDevices];
  char family_[64];
  uint64_t memory_bytes_;
  bool console_taken_;
  uint64_t cases_;
  // What has been said and what of it has been sent.
  char said_[1 << 20];
  size_t said_size_, sent_;
  alignas(4096) uint8_t line_[256];
  alignas(4096) uint8_t answer_[4096];
  alignas(4096) uint8_t scratch_[kScratchBytes];
};

// A family of abuses; a file each.
using Family = void (*)(Machine&);
void AbuseRegisters(Machine& machine);
void AbuseRings(Machine& machine);
void AbuseConfiguration(Machine& machine);
void AbuseDisks(Machine& machine);
void AbuseConsole(Machine& machine);
void AbuseChannel(Machine& machine);
void AbuseRandom(Machine& machine);
void AbuseBalloon(Machine& machine);
void AbuseByRaces(Machine& machine);

}  // namespace msb::test_guest
