// SPDX-License-Identifier: Apache-2.0
#include "jail/namespace_remedy.h"

#include <cerrno>

#include "base/text.h"
#include "sys/file.h"

namespace msb::jail {

std::optional<uint64_t> ReadSysctl(const char* path) {
  auto text = sys::ReadFileAt(sys::Cwd(), path, 64);
  if (!text) return std::nullopt;
  while (text->ends_with('\n')) text->pop_back();
  return ParseNumber<uint64_t>(*text);
}

std::string NamespaceRemedy(int err, bool own_users, ReadSetting read) {
  if (err == ENOSPC || err == EUSERS) {
    for (const char* kind : {"user", "pid", "mnt", "net", "ipc", "uts", "cgroup", "time"})
      if (read(Cat("/proc/sys/user/max_", kind, "_namespaces").c_str()) == 0)
        return Cat("the sysctl user.max_", kind, "_namespaces is 0: raise it");
    return "as many namespaces as are allowed are there, or as deep: raise the sysctls "
           "user.max_*_namespaces";
  }
  if (err == EINVAL) return "this kernel lacks one of the namespaces: Linux 6.1 or newer has all";
  if (err != EPERM && err != EACCES) return "";
  if (!own_users)
    return "root without CAP_SYS_ADMIN cannot make namespaces: in a container, run it with "
           "--privileged";
  if (read("/proc/sys/kernel/unprivileged_userns_clone") == 0)
    return "the sysctl kernel.unprivileged_userns_clone is 0: set it to 1";
  if (auto label = LabelRemedy(err, read); !label.empty()) return std::string(label);
  return "what started this forbids user namespaces, as containers do: run it outside the "
         "container, or in one started with --privileged";
}

std::string_view LabelRemedy(int err, ReadSetting read) {
  bool restricted = read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").value_or(0) != 0;
  if ((err != EPERM && err != EACCES) || !restricted) return "";
  return "AppArmor forbids user namespaces to programs without a profile that allows userns: "
         "give it one, or set the sysctl kernel.apparmor_restrict_unprivileged_userns to 0";
}

}  // namespace msb::jail
