// SPDX-License-Identifier: Apache-2.0
// Does /dev/kvm run an ordinary guest? Some hosts offer a KVM that stops with an emulation failure
// at the first instruction it does not know, so the device's existence proves nothing.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace msb::sandbox {

enum class KvmFailure : uint8_t {
  kNone,
  kAbsent,     // No /dev/kvm.
  kForbidden,  // Not ours to open.
  kOpen,       // Another error of open().
  kVersion,    // Not the API of version 12 that Linux has had since 2.6.22.
  kSetUp,      // A VM, memory or a vCPU could not be made.
  kCannotRun,  // Runs, but not an ordinary guest.
  kHung,       // The guest of a few instructions did not end in time.
};

struct KvmTrial {
  KvmFailure failure = KvmFailure::kNone;
  int error = 0;             // errno of the step that failed.
  uint32_t exit_reason = 0;  // KVM_EXIT_* when it ran otherwise than it should.
};

// Opens the device and closes it: kNone, kAbsent, kForbidden or kOpen.
KvmTrial TryOpenKvm(const std::string& device = "/dev/kvm");

// Runs the guest in a child process, for at most two seconds.
KvmTrial TryKvm(const std::string& device = "/dev/kvm");

// Exit status of the child; for tests of the mapping.
int EncodeTrial(const KvmTrial& trial);
KvmTrial DecodeTrial(int status);

}  // namespace msb::sandbox
