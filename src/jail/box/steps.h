// SPDX-License-Identifier: Apache-2.0
// The sandbox's steps in words: what the error says and what the user can do.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "jail/box/plan.h"
#include "jail/box/spec.h"

namespace msb::box {

std::string_view StepName(Step step);
std::string_view StepRemedy(Step step, int err);
// Reads a number from a file of /proc/sys; nullopt where there is none.
using ReadSetting = std::optional<uint64_t> (*)(const char* path);
std::optional<uint64_t> ReadSysctl(const char* path);
// Why namespaces could not be made, by the settings that forbid it.
std::string NamespaceRemedy(int err, bool own_users, ReadSetting read = ReadSysctl);
// Where AppArmor lets a program make a user namespace but none of what is to be done in it; empty
// where it does not.
std::string_view LabelRemedy(int err, ReadSetting read = ReadSysctl);
// kNotFound or kPermissionDenied for what shells tell apart as 127 and 126.
Error ExecError(const Spec& spec, int err);

}  // namespace msb::box
