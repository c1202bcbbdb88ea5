// SPDX-License-Identifier: Apache-2.0
// What makes a booted kernel the lab: file systems, root, devices, limits.
#pragma once

#include <string>

namespace lab {

// As the initramfs' /init: the host's root (or a disk's, or a bare one's) under a layer of memory,
// moved onto /. Says on the console what failed and resets, which ends QEMU.
void AssembleRoot();

// What systemd would mount, where there is none.
void MountRest();

// In the new root, once: limits, host name, loopback, permissions of devices, /lab/ext4. Returns
// the cgroup folder in which runs get theirs.
std::string SettleIn();

// Becomes systemd, which starts this program again as a service when its basic target is reached.
[[noreturn]] void BecomeSystemd();

[[noreturn]] void Die(const char* what);

// A value of the kernel's command line (`lab.NAME=VALUE`); empty when it is not there.
const char* Option(const char* name);

}  // namespace lab
