// SPDX-License-Identifier: Apache-2.0
// From what KVM answered, and what is around it, to what the user should do.

#pragma once

#include <string>

#include "sandbox/kvm_probe.h"
#include "sandbox/probe.h"

namespace msb::sandbox {

// What decides the advice; plain data, so that every host can be tested on any.
struct KvmSurroundings {
  bool cpu_has_virtualization = false;  // vmx or svm in /proc/cpuinfo.
  bool cpu_is_amd = false;
  bool is_guest = false;  // The hypervisor bit: this host is a virtual machine itself.
  bool module_loaded = false;
  bool wsl = false;
  std::string kvm_group;         // Group that owns /dev/kvm; empty when it has no name.
  bool in_group_file = false;    // The user is a member by /etc/group...
  bool group_is_active = false;  // ...and this process has the group.
  std::string user;
};
KvmSurroundings ReadKvmSurroundings();

KvmAnswer AdviseKvm(const KvmTrial& trial, const KvmSurroundings& around);

}  // namespace msb::sandbox
