// SPDX-License-Identifier: Apache-2.0
// Parts of the host's tree as the sandbox sees them: copies of mounts with the ids of its user
// namespace (mount_setattr(2), MOUNT_ATTR_IDMAP), so that what root owns outside, root owns inside.
//
// Only root can make them, and must; an ordinary user's files are the one mapped id's already, and
// the init opens them itself.

#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "jail/box/prepare.h"
#include "jail/box/spec.h"

namespace msb::box {

// Before the clone: opens the root and the binds; of the host's tree, each of its mounts.
Result<void> OpenTrees(const Spec& spec, Prepared& prepared);

// After it, with the init's user namespace. A root or a writable bind whose file system cannot map
// ids is an error; a read-only bind and a mount of the host's below its root are given unmapped and
// read-only, and their places go to `unmapped`.
Result<void> MapTrees(const Spec& spec, int init, Prepared& prepared,
                      std::vector<std::string>& unmapped);

}  // namespace msb::box
