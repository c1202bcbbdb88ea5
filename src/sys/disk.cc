// SPDX-License-Identifier: Apache-2.0
#include "sys/disk.h"

#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include "base/text.h"
#include "sys/file.h"

namespace msb::sys {
namespace {

constexpr size_t kLineLimit = 64;

// "8:0\n", as sysfs writes it.
Result<DeviceNumber> ParseDevice(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  auto fields = Split(text, ':');
  auto major = fields.size() == 2 ? ParseNumber<uint32_t>(fields[0]) : std::nullopt;
  auto minor = fields.size() == 2 ? ParseNumber<uint32_t>(fields[1]) : std::nullopt;
  if (!major || !minor)
    return Error(Code::kInternal, Cat("sysfs has a device called ", Escape(text)));
  return DeviceNumber{*major, *minor};
}

}  // namespace

std::string DeviceNumber::Text() const { return Cat(major, ':', minor); }

Result<std::optional<DeviceNumber>> DiskOf(const std::string& path) {
  struct stat info;
  if (::stat(path.c_str(), &info) == -1) return Error::Errno(path);
  DeviceNumber device{gnu_dev_major(info.st_dev), gnu_dev_minor(info.st_dev)};
  if (device.major == 0) {
    struct statfs where {};
    if (::statfs(path.c_str(), &where) == -1) return Error::Errno(Cat("statfs ", path));
    if (where.f_type == TMPFS_MAGIC || where.f_type == RAMFS_MAGIC) return std::nullopt;
    return Error(Code::kUnimplemented, Cat(path, " lies on no disk of its own"));
  }
  std::string entry = Cat("/sys/dev/block/", device.Text());
  if (!TRY(FindAt(Cwd(), entry + "/partition"))) return device;
  return TRY(ParseDevice(TRY(ReadFileAt(Cwd(), entry + "/../dev", kLineLimit))));
}

}  // namespace msb::sys
