// SPDX-License-Identifier: Apache-2.0
// The files' texts, and the parent's way to write them.

#include "jail/id_maps.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/text.h"
#include "sys/file.h"

namespace msb::jail {

IdMapFiles IdMaps::Files() const {
  return {{{"setgroups", deny_setgroups ? "deny" : nullptr},
           {"uid_map", uid.c_str()},
           {"gid_map", gid.c_str()}}};
}

IdMaps MapOwnIds(uint32_t uid, uint32_t gid) {
  return {.uid = Cat(uid, ' ', ::geteuid(), " 1\n"),
          .gid = Cat(gid, ' ', ::getegid(), " 1\n"),
          .deny_setgroups = true};
}

Result<void> WriteIdMaps(int pid, const IdMaps& maps) {
  UniqueFd process = TRY(sys::OpenAt(sys::Cwd(), Cat("/proc/", pid), O_PATH | O_DIRECTORY));
  for (const IdMapFile& map : maps.Files()) {
    if (map.text == nullptr) continue;
    UniqueFd file = TRY(sys::OpenAt(process, map.name, O_WRONLY));
    TRY(sys::WriteAll(file, map.text).Context(map.name));
  }
  return {};
}

}  // namespace msb::jail
