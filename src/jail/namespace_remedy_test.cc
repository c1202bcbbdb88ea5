// SPDX-License-Identifier: Apache-2.0
#include "jail/namespace_remedy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>

namespace msb::jail {
namespace {

using testing::HasSubstr;

std::optional<uint64_t> Nothing(const char*) { return std::nullopt; }
std::optional<uint64_t> NoNetworks(const char* path) {
  return std::string_view(path) == "/proc/sys/user/max_net_namespaces" ? 0 : 1000;
}
std::optional<uint64_t> Debian(const char* path) {
  return std::string_view(path).ends_with("unprivileged_userns_clone") ? std::optional(0ull)
                                                                       : std::nullopt;
}
std::optional<uint64_t> Ubuntu(const char* path) {
  return std::string_view(path).ends_with("apparmor_restrict_unprivileged_userns")
             ? std::optional(1ull)
             : std::nullopt;
}

TEST(NamespaceRemedy, NamesTheSettingThatForbids) {
  EXPECT_THAT(NamespaceRemedy(ENOSPC, true, NoNetworks), HasSubstr("user.max_net_namespaces is 0"));
  EXPECT_THAT(NamespaceRemedy(ENOSPC, true, Nothing), HasSubstr("user.max_*_namespaces"));
  EXPECT_THAT(NamespaceRemedy(EPERM, true, Debian), HasSubstr("kernel.unprivileged_userns_clone"));
  EXPECT_THAT(NamespaceRemedy(EACCES, true, Ubuntu), HasSubstr("AppArmor forbids"));
  EXPECT_THAT(NamespaceRemedy(EPERM, true, Nothing), HasSubstr("as containers do"));
  EXPECT_THAT(NamespaceRemedy(EPERM, false, Nothing), HasSubstr("CAP_SYS_ADMIN"));
  EXPECT_EQ(NamespaceRemedy(ENOMEM, true, Nothing), "");
}

TEST(LabelRemedy, IsAppArmorsAlone) {
  EXPECT_THAT(std::string(LabelRemedy(EPERM, Ubuntu)), HasSubstr("AppArmor"));
  EXPECT_EQ(LabelRemedy(ENOENT, Ubuntu), "");
  EXPECT_EQ(LabelRemedy(EPERM, Debian), "");
  EXPECT_EQ(LabelRemedy(EPERM, Nothing), "");
}

TEST(ReadSysctl, ReadsANumberOrNothing) {
  EXPECT_TRUE(ReadSysctl("/proc/sys/kernel/pid_max").has_value());
  EXPECT_FALSE(ReadSysctl("/proc/sys/kernel/ostype").has_value());
  EXPECT_FALSE(ReadSysctl("/proc/sys/kernel/nosuch").has_value());
}

}  // namespace
}  // namespace msb::jail
