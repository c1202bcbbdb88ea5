// SPDX-License-Identifier: Apache-2.0
// A home's key is its device and inode number: what stays the same however the path is spelled.

#include "sandbox/cgroup_name.h"

#include <array>

#include "base/bytes.h"
#include "base/text.h"
#include "sys/cgroup.h"
#include "sys/file.h"

namespace msb::sandbox {
namespace {

std::string HomeKey(BorrowedFd home) {
  auto info = sys::Stat(home);
  if (!info) return "unknown";
  std::array<std::byte, 16> key;
  StoreLittle(key.data(), uint64_t{info->st_dev});
  StoreLittle(key.data() + 8, uint64_t{info->st_ino});
  return Hex(key);
}

// The directory of the sandbox's scope, when its record names the machine's cgroup in one.
std::optional<std::string> RecordedScope(const RecordedCgroup& recorded, std::string_view id) {
  for (const std::string& place : recorded.places)
    if (place.starts_with('/') && place.ends_with(Cat("/", ScopeName(id), "/", kMachineOfScope)))
      return place.substr(0, place.rfind('/'));
  return std::nullopt;
}

}  // namespace

std::string ScopeName(std::string_view id) { return Cat("msb-", id, ".scope"); }

std::string CgroupName(BorrowedFd home, std::string_view id) { return Cat(id, ".", HomeKey(home)); }

std::optional<std::string> IdOfCgroup(BorrowedFd home, std::string_view cgroup) {
  size_t dot = cgroup.find('.');
  if (dot == std::string_view::npos || cgroup.substr(dot + 1) != HomeKey(home)) return std::nullopt;
  return std::string(cgroup.substr(0, dot));
}

bool IsListed(const RecordedCgroup& recorded, std::string_view id) {
  return recorded.given.empty() && !RecordedScope(recorded, id);
}

Result<bool> RemoveCgroupOf(BorrowedFd home, const RecordedCgroup& recorded, std::string_view id) {
  auto scope = RecordedScope(recorded, id);
  auto host = scope ? sys::CgroupHost::AtScope(*scope) : sys::CgroupHost::Find(recorded.given);
  if (!host) {
    // Where we can make none there is none of ours; a delegated one and a scope take ours with
    // them.
    Code code = host.error().code();
    if (recorded.given.empty() || code == Code::kNotFound || code == Code::kInvalidArgument)
      return false;
    return std::move(host).error();
  }
  auto cgroup =
      sys::Cgroup::Adopt(*host, scope ? std::string(kMachineOfScope) : CgroupName(home, id));
  if (!cgroup && cgroup.error().code() == Code::kNotFound) return false;
  if (!cgroup) return std::move(cgroup).error();
  TRY(cgroup->Kill());
  TRY(cgroup->Remove());
  return true;
}

}  // namespace msb::sandbox
