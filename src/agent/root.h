// SPDX-License-Identifier: Apache-2.0
// The guest's file systems. MountRoot is all that the hello waits for; FinishRoot is done while the
// hello travels, before the first exec.

#pragma once

#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace msb::agent {

struct RootOptions {
  // The upper disk outlives the machine: no shortcuts with its data.
  bool keep_upper = false;
};

struct Root {
  UniqueFd root;   // "/" of the sandbox.
  UniqueFd upper;  // The ext4 of the upper disk.
};

// /dev of the initramfs, so that there are devices.
Result<void> MountDev();
// /dev/vda (EROFS) under /dev/vdb (ext4) as an overlay, moved onto "/". The upper disk is empty at
// first; what is needed on it is made here.
Result<Root> MountRoot(const RootOptions& options);
// /proc, /sys, /dev and what is in them. Missing directories are made; links in their place
// refused.
Result<void> FinishRoot(const Root& root);
// /var/lib/docker and /var/lib/containers on the upper disk: overlay does not stack on overlay.
Result<void> BindContainerStores(const Root& root);

// The version 2 cgroup `/sandbox` with its limits; the directory.
Result<UniqueFd> MakeSandboxCgroup(const Root& root);

// Replaces the file `name` in /etc; a link, a fifo or a device that the image has there goes.
Result<void> WriteEtcFile(BorrowedFd root, const std::string& name, std::string_view content);

}  // namespace msb::agent
