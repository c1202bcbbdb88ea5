// SPDX-License-Identifier: Apache-2.0
#include <dirent.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "jail/box/host_check.h"
#include "sys/file.h"

namespace msb::box {
namespace {

size_t Descriptors() {
  size_t count = 0;
  DIR* dir = ::opendir("/proc/self/fd");
  while (::readdir(dir) != nullptr) count++;
  ::closedir(dir);
  return count;
}

TEST(CheckHost, SaysWhatWasTriedAndLeavesNothing) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "ThreadSanitizer's own thread: the kernel lets nobody with threads unshare users";
#endif
  auto descriptors = Descriptors();
  auto mounts = *sys::ReadFileAt(sys::Cwd(), "/proc/self/mountinfo", 1 << 22);
  auto checks = CheckHost();
  EXPECT_EQ(checks.size(), 9u);
  for (const HostCheck& check : checks) {
    EXPECT_FALSE(check.tried.empty() || check.result.empty()) << check.name;
    EXPECT_EQ(check.cost.empty(), check.state == HostCheck::State::kOk) << check.name;
    // An ordinary user has one id; /usr may be where ids cannot be mapped; Linux before 6.6.
    bool depends = check.name == "ids" || check.name == "root from a directory" ||
                   check.name == "overlay marks";
    EXPECT_TRUE(depends || check.state == HostCheck::State::kOk)
        << check.name << ": " << check.result;
  }
  EXPECT_EQ(Descriptors(), descriptors);
  EXPECT_EQ(*sys::ReadFileAt(sys::Cwd(), "/proc/self/mountinfo", 1 << 22), mounts);
  EXPECT_TRUE(::waitpid(-1, nullptr, WNOHANG) == -1 && errno == ECHILD);
}

}  // namespace
}  // namespace msb::box
