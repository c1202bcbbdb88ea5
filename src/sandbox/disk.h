// SPDX-License-Identifier: Apache-2.0
// The writable disk of a sandbox: a sparse file without a name, copied from a template that mke2fs
// made once for each size.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace msb::sandbox {

// An empty journal-less ext4 of `size_bytes`, in a file that is gone with its last descriptor.
// Templates are kept in `cache` as ext4-<bytes>-<version>.img; the file is made beside `near`.
// kResourceExhausted when the host has no space for it.
Result<UniqueFd> MakeDisk(BorrowedFd cache, BorrowedFd near, uint64_t size_bytes);

// Removes the templates that no sandbox was made from for 30 days, and names them.
Result<std::vector<std::string>> CollectTemplates(BorrowedFd cache);

// Copies data and holes of `from` into the empty file `to`: by a clone of extents where the file
// system has them.
Result<void> CopySparse(BorrowedFd from, BorrowedFd to, uint64_t size_bytes);

// Whether what is written to `disk` stays in memory, as on tmpfs, also below an overlay: such pages
// cannot be given back and count against the cgroup of who wrote them. `disk` is as MakeDisk() made
// it: with holes.
Result<bool> LiesInMemory(BorrowedFd disk);

// Refuses when the file system of `dir` has less than what any sandbox needs to start.
Result<void> CheckFreeSpace(BorrowedFd dir, uint64_t storage_bytes);

}  // namespace msb::sandbox
