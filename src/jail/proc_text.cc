// SPDX-License-Identifier: Apache-2.0
// Lines, then fields.

#include "jail/proc_text.h"

#include <algorithm>
#include <charconv>

#include "base/text.h"

namespace msb::jail {
namespace {

constexpr size_t kMostMounts = 65536;
constexpr size_t kLongestName = 64;  // The kernel's are 15 bytes, each escaped to 4 at most.
// The columns of fs/proc/base.c: "%-25s %-20s %-20s %-10s\n".
constexpr size_t kSoftColumn = 26, kHardColumn = 47, kUnitColumn = 68;

Error Malformed(std::string_view what, std::string_view text) {
  return Error(Code::kDataLoss, Cat("/proc: ", what, " is \"", Escape(text, 64), "\""));
}

std::vector<std::string> Words(std::string_view text) {
  std::vector<std::string> words;
  for (size_t at = 0; at < text.size();) {
    size_t begin = text.find_first_not_of(" \t", at);
    if (begin == std::string_view::npos) break;
    size_t end = std::min(text.find_first_of(" \t", begin), text.size());
    words.emplace_back(text.substr(begin, end - begin));
    at = end;
  }
  return words;
}

std::string_view Trimmed(std::string_view text) {
  size_t begin = text.find_first_not_of(' ');
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(' ') - begin + 1);
}

Result<uint64_t> ParseSet(std::string_view key, std::string_view text) {
  uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (error != std::errc() || end != text.data() + text.size()) return Malformed(key, text);
  return value;
}

template <class T>
Result<T> ParseDecimal(std::string_view key, std::string_view text) {
  auto value = ParseNumber<T>(text);
  if (!value) return Malformed(key, text);
  return *value;
}

Result<std::vector<uint32_t>> ParseIds(std::string_view key, std::string_view text) {
  std::vector<uint32_t> ids;
  for (const std::string& word : Words(text)) ids.push_back(TRY(ParseDecimal<uint32_t>(key, word)));
  return ids;
}

Result<TaskStatus::Ids> ParseFourIds(std::string_view key, std::string_view text) {
  auto ids = TRY(ParseIds(key, text));
  TaskStatus::Ids four;
  if (ids.size() != four.size()) return Malformed(key, text);
  std::copy(ids.begin(), ids.end(), four.begin());
  return four;
}

// Puts what was read where nothing may be yet.
template <class T>
Result<void> Once(std::optional<T>& field, std::string_view key, Result<T> value) {
  if (field) return Error(Code::kDataLoss, Cat("/proc: ", key, " comes twice"));
  field = TRY(std::move(value));
  return {};
}

Result<void> ReadField(std::string_view key, std::string_view value, TaskStatus& status) {
  struct Set {
    std::string_view key;
    std::optional<uint64_t> TaskStatus::*field;
  };
  static constexpr Set kSets[] = {{"CapInh", &TaskStatus::inheritable},
                                  {"CapPrm", &TaskStatus::permitted},
                                  {"CapEff", &TaskStatus::effective},
                                  {"CapBnd", &TaskStatus::bounding},
                                  {"CapAmb", &TaskStatus::ambient}};
  static constexpr Set kNumbers[] = {{"NoNewPrivs", &TaskStatus::no_new_privileges},
                                     {"Seccomp", &TaskStatus::seccomp_mode},
                                     {"Seccomp_filters", &TaskStatus::seccomp_filters}};
  for (const Set& set : kSets)
    if (key == set.key) return Once(status.*set.field, key, ParseSet(key, value));
  for (const Set& number : kNumbers)
    if (key == number.key)
      return Once(status.*number.field, key, ParseDecimal<uint64_t>(key, value));
  if (key == "PPid") return Once(status.parent, key, ParseDecimal<pid_t>(key, value));
  if (key == "Uid") return Once(status.uids, key, ParseFourIds(key, value));
  if (key == "Gid") return Once(status.gids, key, ParseFourIds(key, value));
  if (key == "Groups") return Once(status.groups, key, ParseIds(key, value));
  return {};
}

Result<std::optional<uint64_t>> ParseLimit(std::string_view name, std::string_view text) {
  if (text == "unlimited") return std::optional<uint64_t>();
  return std::optional(TRY(ParseDecimal<uint64_t>(name, text)));
}

}  // namespace

Result<TaskStatus> ParseTaskStatus(std::string_view text) {
  TaskStatus status;
  bool named = false;
  for (const std::string& line : Split(text, '\n')) {
    if (line.empty()) continue;
    size_t colon = line.find(":\t");
    if (colon == std::string::npos) return Malformed("a line of status", line);
    std::string_view key = std::string_view(line).substr(0, colon);
    std::string_view value = std::string_view(line).substr(colon + 2);
    // The first line, and the only one that the process chooses; the kernel escapes newlines in it.
    if (!named && key != "Name") return Malformed("the first line of status", line);
    if (key == "Name") {
      if (named) return Error(Code::kDataLoss, "/proc: Name comes twice");
      named = true;
      status.name = Escape(value, kLongestName);
      continue;
    }
    TRY(ReadField(key, Trimmed(value), status));
  }
  if (!named) return Error(Code::kDataLoss, "/proc: status is empty");
  return status;
}

Result<std::vector<ProcessLimit>> ParseProcessLimits(std::string_view text) {
  std::vector<ProcessLimit> limits;
  bool header = true;
  for (const std::string& line : Split(text, '\n')) {
    if (line.empty()) continue;
    if (line.size() < kUnitColumn) return Malformed("a line of limits", line);
    if (std::exchange(header, false)) {
      if (!line.starts_with("Limit ")) return Malformed("the first line of limits", line);
      continue;
    }
    std::string_view view = line;
    ProcessLimit limit;
    limit.name = Trimmed(view.substr(0, kSoftColumn));
    limit.soft =
        TRY(ParseLimit(limit.name, Trimmed(view.substr(kSoftColumn, kHardColumn - kSoftColumn))));
    limit.hard =
        TRY(ParseLimit(limit.name, Trimmed(view.substr(kHardColumn, kUnitColumn - kHardColumn))));
    limit.unit = Trimmed(view.substr(kUnitColumn));
    limits.push_back(std::move(limit));
  }
  if (limits.empty()) return Error(Code::kDataLoss, "/proc: limits is empty");
  return limits;
}

Result<std::vector<ProcessMount>> ParseProcessMounts(std::string_view text) {
  std::vector<ProcessMount> mounts;
  for (const std::string& line : Split(text, '\n')) {
    if (line.empty()) continue;
    if (mounts.size() == kMostMounts) return Error(Code::kDataLoss, "/proc: too many mounts");
    // id, parent, device, root, mount point, options, [optional fields], "-", type, ...
    auto fields = Words(line);
    auto dash = std::find(fields.begin(), fields.end(), "-");
    if (dash - fields.begin() < 6 || fields.end() - dash < 2)
      return Malformed("a line of mountinfo", line);
    ProcessMount mount;
    mount.at = Escape(fields[4], 4096);
    mount.type = Escape(dash[1], kLongestName);
    for (const std::string& option : Split(fields[5], ',')) {
      if (option == "ro") mount.read_only = true;
      if (option == "nosuid") mount.no_setuid = true;
      if (option == "nodev") mount.no_devices = true;
    }
    mounts.push_back(std::move(mount));
  }
  return mounts;
}

}  // namespace msb::jail
