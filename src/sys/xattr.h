// SPDX-License-Identifier: Apache-2.0
// Extended attributes of whatever a descriptor stands for.

#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace msb::sys {

struct ExtendedAttribute {
  std::string name;
  std::string value;
};

// Those the caller may see, sorted by name; none where the file system knows none. Works for O_PATH
// descriptors too, of symlinks and devices, through /proc/self/fd. At most `limit` bytes of values.
Result<std::vector<ExtendedAttribute>> ListXattrs(BorrowedFd fd, size_t limit);

}  // namespace msb::sys
