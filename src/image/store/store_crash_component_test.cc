// SPDX-License-Identifier: Apache-2.0
// A writer is killed before each of its system calls in turn; the store must be whole each time.
//
// The child is traced, so that "at any moment" is exact: between two system calls nothing that
// others can see changes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>

#include "image/store/store_test_util.h"

namespace msb::store {
namespace {

using testing::IsEmpty;
using testing::SizeIs;

// Runs `work` in a child and kills it before its `call`-th system call. False when the child ended
// by itself before that.
bool KillBefore(int call, const std::function<bool()>& work) {
  pid_t child = ::fork();
  if (child == 0) {
    ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
    ::raise(SIGSTOP);
    ::_exit(work() ? 0 : 1);
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  // Each call stops twice: at entry, where a kill still prevents it, and at return.
  for (int i = 0; i < 2 * call - 1; ++i) {
    EXPECT_EQ(::ptrace(PTRACE_SYSCALL, child, nullptr, nullptr), 0);
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    if (WIFEXITED(status)) {
      EXPECT_EQ(WEXITSTATUS(status), 0);
      return false;
    }
  }
  ::kill(child, SIGKILL);
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return true;
}

void CheckEveryDeath(StagingMode mode) {
#ifdef MSB_SANITIZED
  constexpr int kStep = 5;  // A fork of a sanitized process takes milliseconds.
#else
  constexpr int kStep = 1;
#endif
  bool killed = true;
  int call = 1;
  for (; killed && call < 1000; call += kStep) {
    TempHome home;
    Store store = *Store::Open(home.fd());
    ASSERT_TRUE(AddImage(store, "old", 'a').ok());
    killed = KillBefore(call, [&] { return AddImage(store, "new", 'c', mode).ok(); });

    auto found = store.OpenImage(Named("new"));
    ASSERT_TRUE(found.ok()) << call << ": " << found.error().message();
    ASSERT_TRUE(killed || found->has_value());
    ASSERT_THAT(store.List()->broken, IsEmpty()) << call;
    ASSERT_TRUE(store.CollectGarbage().ok()) << call;
    ASSERT_THAT(home.Files(), SizeIs(found->has_value() ? 8 : 4)) << call;
    ASSERT_TRUE((*store.OpenImage(Named("old"))).has_value());
  }
  // The work is made of enough calls for this test to mean something.
  EXPECT_GT(call, 40);
  EXPECT_FALSE(killed);
}

TEST(StoreCrash, DeathAtAnyCallOfACommitLeavesTheStoreWhole) {
  CheckEveryDeath(StagingMode::kUnnamed);
}

TEST(StoreCrash, DeathAtAnyCallLeavesTheStoreWholeWithoutUnnamedFiles) {
  CheckEveryDeath(StagingMode::kNamed);
}

// A reader between its look at the reference and its opening of the disk.
TEST(StoreCrash, ReadersSeeOldOrNewWhileImagesAreReplacedAndCollected) {
  TempHome home;
  Store store = *Store::Open(home.fd());
  ASSERT_TRUE(AddImage(store, "a", 'a').ok());
  pid_t writer = ::fork();
  if (writer == 0) {
    bool good = true;
    for (int i = 0; i < 60; ++i)
      good =
          good && AddImage(store, "a", i % 2 == 0 ? 'c' : 'a').ok() && store.CollectGarbage().ok();
    ::_exit(good ? 0 : 1);
  }
  int status = 0;
  int looks = 0;
  while (::waitpid(writer, &status, WNOHANG) == 0) {
    auto opened = store.OpenImage(Named("a"));
    ASSERT_TRUE(opened.ok()) << opened.error().message();
    ASSERT_TRUE(opened->has_value());
    ASSERT_THAT(store.List()->broken, IsEmpty());
    ++looks;
  }
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  EXPECT_GT(looks, 0);
}

}  // namespace
}  // namespace msb::store
