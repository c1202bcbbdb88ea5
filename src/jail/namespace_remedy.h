// SPDX-License-Identifier: Apache-2.0
// What forbids namespaces, and what the user can do.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace msb::jail {

// Reads a number from a file of /proc/sys; nullopt where there is none.
using ReadSetting = std::optional<uint64_t> (*)(const char* path);
std::optional<uint64_t> ReadSysctl(const char* path);
// Why namespaces could not be made, by the settings that forbid it.
std::string NamespaceRemedy(int err, bool own_users, ReadSetting read = ReadSysctl);
// Where AppArmor lets a program make a user namespace but none of what is to be done in it; empty
// where it does not.
std::string_view LabelRemedy(int err, ReadSetting read = ReadSysctl);

}  // namespace msb::jail
