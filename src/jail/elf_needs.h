// SPDX-License-Identifier: Apache-2.0
// Which files a program needs to start: its loader and its shared libraries, all the way down, so
// that a jail's root holds these and nothing else. Read from the files themselves and from
// /etc/ld.so.cache, which is what the loader will do; nothing is executed to find out.

#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "jail/jail.h"

namespace msb::jail {

struct ElfNeeds {
  std::string interpreter;           // Empty: static, or a library.
  std::vector<std::string> needed;   // DT_NEEDED, in order.
  std::vector<std::string> runpath;  // Directories; those with $ORIGIN are left out.
};
// A 64-bit little-endian ELF file.
Result<ElfNeeds> ParseElfNeeds(std::span<const std::byte> file);

// A line of /etc/ld.so.cache, for this architecture.
struct CachedLibrary {
  std::string_view name;  // "libz.so.1"
  std::string_view path;
};
// Views into `cache`. Entries for special hardware are left out: the plain one is always there.
Result<std::vector<CachedLibrary>> ParseLoaderCache(std::span<const std::byte> cache);

// The binds that `program` needs beside itself, then those of each of `plugins` (shared objects it
// loads by name), which are bound too. QEMU's translator, a plugin on Debian, is known without
// being named. Targets are the paths under which the loader looks. A static program needs nothing.
Result<std::vector<JailBind>> FilesOfProgram(const std::string& program,
                                             const std::vector<std::string>& plugins = {});

}  // namespace msb::jail
