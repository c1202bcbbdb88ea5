// SPDX-License-Identifier: Apache-2.0
// "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw": the fifth field is the place,
// in which octal escapes stand for blanks and backslashes; the type follows a dash.

#include "jail/box/mount_table.h"

#include <algorithm>

#include "base/text.h"

namespace msb::box {
namespace {

bool IsOctal(char c) { return c >= '0' && c <= '7'; }

std::string Unescape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); i++) {
    bool escape = text[i] == '\\' && i + 3 < text.size() && text[i + 1] <= '3' &&
                  IsOctal(text[i + 1]) && IsOctal(text[i + 2]) && IsOctal(text[i + 3]);
    out += escape ? static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 +
                                      (text[i + 3] - '0'))
                  : text[i];
    if (escape) i += 3;
  }
  return out;
}

bool IsBelow(std::string_view place, std::string_view directory) {
  return place.starts_with(directory) &&
         (place.size() == directory.size() || place[directory.size()] == '/');
}

}  // namespace

std::vector<MountEntry> ParseMountInfo(std::string_view text) {
  std::vector<MountEntry> table;
  for (const std::string& line : Split(text, '\n')) {
    auto fields = Split(line, ' ');
    auto dash = std::find(fields.begin(), fields.end(), "-");
    if (dash - fields.begin() < 6 || fields.end() - dash < 2) continue;
    if (!fields[4].starts_with('/')) continue;
    table.push_back({Unescape(fields[4]), Unescape(dash[1])});
  }
  return table;
}

std::vector<std::string> MountsBelow(const std::vector<MountEntry>& table,
                                     std::string_view directory) {
  if (directory == "/") directory = "";
  std::vector<std::string> places;
  for (const MountEntry& mount : table)
    if (mount.place != directory && IsBelow(mount.place, directory)) places.push_back(mount.place);
  return places;
}

std::vector<std::string> HostMounts(const std::vector<MountEntry>& table) {
  std::vector<std::string> places;
  for (const MountEntry& mount : table) {
    bool own = mount.place == "/";
    for (std::string_view ours : {"/proc", "/sys", "/dev"}) own = own || IsBelow(mount.place, ours);
    bool known = std::find(places.begin(), places.end(), mount.place) != places.end();
    if (!own && !known) places.push_back(mount.place);
  }
  // Above before below, whatever the order in which they were mounted.
  std::sort(places.begin(), places.end());
  return places;
}

}  // namespace msb::box
