// SPDX-License-Identifier: Apache-2.0
// Files, locks, processes and sockets against the real kernel, without privilege.

#include <gtest/gtest.h>
#include <linux/falloc.h>
#include <linux/openat2.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <span>

#include "base/bytes.h"
#include "base/text.h"
#include "sys/file.h"
#include "sys/fork.h"
#include "sys/mapping.h"
#include "sys/process.h"
#include "sys/random.h"
#include "sys/socket.h"

namespace msb::sys {
namespace {

class SysTest : public testing::Test {
 protected:
  SysTest() {
    char path[] = "/tmp/msb-sys-test-XXXXXX";
    path_ = ::mkdtemp(path);
    dir_ = *OpenAt(Cwd(), path_, O_RDONLY | O_DIRECTORY);
  }
  ~SysTest() override { (void)RemoveTreeAt(Cwd(), path_); }

  std::string path_;
  UniqueFd dir_;
};

TEST_F(SysTest, EveryNewDescriptorIsCloseOnExec) {
  auto pipe = *MakePipe();
  auto pair = *MakeSocketPair();
  auto mem = *MemFd("t");
  auto copy = *Duplicate(mem);
  for (int fd : {pipe.read.get(), pipe.write.get(), pair.first.get(), pair.second.get(), mem.get(),
                 copy.get(), dir_.get()})
    EXPECT_TRUE(::fcntl(fd, F_GETFD) & FD_CLOEXEC);
}

TEST_F(SysTest, ReplaceFileLeavesOneWholeFile) {
  ASSERT_TRUE(ReplaceFileAt(dir_, "state", "one"));
  ASSERT_TRUE(ReplaceFileAt(dir_, "state", "two"));
  EXPECT_EQ(*ReadFileAt(dir_, "state", 10), "two");
  EXPECT_EQ(*ListDirectory(dir_), std::vector<std::string>{"state"});
  EXPECT_EQ(ReadFileAt(dir_, "state", 2).error().code(), Code::kResourceExhausted);
  EXPECT_FALSE(*FindFileAt(dir_, "absent", 10));
}

TEST_F(SysTest, RememberedFileIsReplacedAndNothingIsBesideIt) {
  for (const char* text : {"a long first answer", "second"}) {
    ASSERT_TRUE(RememberFileAt(dir_, "answer", text));
    EXPECT_EQ(*ReadFileAt(dir_, "answer", 100), text);
    EXPECT_EQ(ListDirectory(dir_)->size(), 1U);
  }
}

TEST_F(SysTest, OpenBeneathRefusesToClimbOut) {
  ASSERT_TRUE(SymlinkAt("/etc", dir_, "away"));
  EXPECT_FALSE(OpenBeneath(dir_, "../", O_RDONLY));
  EXPECT_FALSE(OpenBeneath(dir_, "away/passwd", O_RDONLY));
  EXPECT_FALSE(OpenBeneath(dir_, "/etc/passwd", O_RDONLY));
  EXPECT_TRUE(OpenBeneath(dir_, "file", O_WRONLY | O_CREAT, 0600));
}

TEST_F(SysTest, RemoveTreeNeverFollowsALink) {
  ASSERT_TRUE(EnsureDirectory(dir_, "keep", 0700));
  ASSERT_TRUE(ReplaceFileAt(dir_, "keep/file", "x").ok() ||
              OpenAt(dir_, "keep/file", O_WRONLY | O_CREAT, 0600).ok());
  ASSERT_TRUE(EnsureDirectory(dir_, "tree/a/b", 0700));
  ASSERT_TRUE(SymlinkAt("../../keep", dir_, "tree/a/link"));
  ASSERT_TRUE(OpenAt(dir_, "tree/a/b/f", O_WRONLY | O_CREAT, 0600));
  ASSERT_TRUE(RemoveTreeAt(dir_, "tree"));
  EXPECT_FALSE(*FindAt(dir_, "tree"));
  EXPECT_TRUE(*FindAt(dir_, "keep"));
  EXPECT_TRUE(RemoveTreeAt(dir_, "tree"));
}

TEST_F(SysTest, WaitForALockEndsAndNamesItsHolder) {
  auto open = [&] { return *OpenAt(dir_, "lock", O_RDWR | O_CREAT, 0600); };
  Deadline soon = Deadline::After(std::chrono::milliseconds(5));
  {
    auto shared = FileLock::TryShared(open());
    ASSERT_TRUE(shared.ok());
    EXPECT_TRUE(FileLock::WaitShared(open(), soon).ok());
    auto refused = FileLock::WaitExclusive(open(), soon);
    ASSERT_EQ(refused.error().code(), Code::kDeadlineExceeded);
    EXPECT_NE(refused.error().message().find(Cat("(process ", ::getpid(), ")")), std::string::npos)
        << refused.error().message();
    EXPECT_FALSE(refused.error().remedy().empty());
  }
  EXPECT_TRUE(FileLock::WaitExclusive(open(), soon).ok());
}

TEST_F(SysTest, LockIsSeenWithoutTakingIt) {
  auto asker = *OpenAt(dir_, "lock", O_RDWR | O_CREAT, 0600);
  EXPECT_FALSE(*FileLock::IsHeld(asker));
  {
    auto lock = FileLock::TryExclusive(*OpenAt(dir_, "lock", O_RDWR));
    ASSERT_TRUE(lock);
    EXPECT_TRUE(*FileLock::IsHeld(asker));
    EXPECT_EQ(FileLock::TryExclusive(*OpenAt(dir_, "lock", O_RDWR)).error().code(),
              Code::kUnavailable);
  }
  EXPECT_FALSE(*FileLock::IsHeld(asker));
  auto shared = FileLock::TryShared(*OpenAt(dir_, "lock", O_RDWR));
  EXPECT_FALSE(*FileLock::IsHeld(asker));
  EXPECT_TRUE(*FileLock::IsHeldOrShared(asker));
}

TEST_F(SysTest, MappingSharesBytesWithTheFile) {
  auto fd = *MemFd("guest");
  ASSERT_TRUE(Truncate(fd, 4096));
  auto map = MapFile(fd, 4096, 0, PROT_READ | PROT_WRITE, MAP_SHARED);
  ASSERT_TRUE(map);
  map->bytes()[0] = std::byte{7};
  std::byte b{};
  ASSERT_TRUE(ReadExactlyAt(fd, std::span(&b, 1), 0));
  EXPECT_EQ(b, std::byte{7});
  EXPECT_EQ(ReadExactlyAt(fd, std::span(&b, 1), 4096).error().code(), Code::kDataLoss);
}

TEST_F(SysTest, SpawnPassesNamedDescriptorsAndNoOther) {
  auto out = *MakePipe();
  auto other = *Duplicate(dir_);
  ASSERT_TRUE(SetCloseOnExec(other, false));  // Even a careless one is closed.
  auto child = Spawn({.argv = {"/bin/sh", "-c", "ls /proc/self/fd | tr '\\n' ' ' >&5"},
                      .env = {"PATH=/usr/bin:/bin"},
                      .fds = {{out.write.get(), 5}}});
  ASSERT_TRUE(child) << child.error().message();
  EXPECT_EQ(child->Wait(Deadline::After(std::chrono::seconds(20)))->code, 0);
  out.write.Reset();
  // 3 is ls's own directory.
  EXPECT_EQ(*ReadAll(out.read, 100), "0 1 2 3 5 ");
}

TEST_F(SysTest, SpawnSwapsDescriptorsThatStandInEachOthersWay) {
  auto a = *MemFd("a"), b = *MemFd("b");
  ASSERT_TRUE(WriteAllAt(a, AsBytes("A"), 0));
  ASSERT_TRUE(WriteAllAt(b, AsBytes("B"), 0));
  auto out = *MakePipe();
  std::string script = Cat("cat <&", a.get(), "; cat <&", b.get());
  auto child = Spawn({.argv = {"/bin/sh", "-c", script},
                      .env = {"PATH=/usr/bin:/bin"},
                      .fds = {{out.write.get(), 1}, {a.get(), b.get()}, {b.get(), a.get()}}});
  ASSERT_TRUE(child) << child.error().message();
  ASSERT_TRUE(child->Wait(Deadline::After(std::chrono::seconds(20))));
  out.write.Reset();
  EXPECT_EQ(*ReadAll(out.read, 100), "BA");
}

TEST_F(SysTest, SpawnNamesTheStepThatFailed) {
  auto missing = Spawn({.argv = {"/no/such/program"}});
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().message(), "exec /no/such/program: No such file or directory");
  auto workdir = Spawn({.argv = {"/bin/true"}, .workdir = "/no/such"});
  ASSERT_FALSE(workdir);
  EXPECT_EQ(workdir.error().message(), "chdir /bin/true: No such file or directory");
}

TEST_F(SysTest, DestroyedChildIsKilledAndReaped) {
  UniqueFd watch;
  {
    auto child = Spawn({.argv = {"/bin/sleep", "1000"}});
    ASSERT_TRUE(child);
    watch = *Duplicate(child->pidfd());
    EXPECT_EQ(child->Wait(Deadline::After(std::chrono::milliseconds(1))).error().code(),
              Code::kDeadlineExceeded);
  }
  EXPECT_FALSE(TryReap(watch));  // ECHILD: nothing left to reap.
}

TEST_F(SysTest, ExitStatusTellsCodesFromSignals) {
  auto code = Spawn({.argv = {"/bin/sh", "-c", "exit 7"}});
  EXPECT_EQ(*code->Wait(Deadline::Never()), (ExitStatus{false, 7}));
  auto signal = Spawn({.argv = {"/bin/sh", "-c", "kill -9 $$"}});
  EXPECT_EQ(*signal->Wait(Deadline::Never()), (ExitStatus{true, SIGKILL}));
}

TEST_F(SysTest, SocketsWorkInDirectoriesWithLongNames) {
  std::string deep;
  for (int i = 0; i < 6; i++) deep += std::string(40, static_cast<char>('a' + i)) + "/";
  auto dir = EnsureDirectory(dir_, deep, 0700);
  ASSERT_TRUE(dir);
  auto listener = ListenAt(*dir, "control");
  ASSERT_TRUE(listener) << listener.error().message();
  EXPECT_FALSE(*Accept(*listener));
  auto client = ConnectAt(*dir, "control");
  ASSERT_TRUE(client);
  auto server = *Accept(*listener);
  ASSERT_TRUE(server);
  EXPECT_EQ(GetPeer(*server)->pid, ::getpid());
  BorrowedFd passed[] = {dir_};
  ASSERT_TRUE(SendWithFds(*client, AsBytes("x"), passed));
  std::byte buffer[8];
  auto received = ReceiveWithFds(*server, buffer);
  ASSERT_TRUE(received);
  EXPECT_EQ(received->bytes, 1u);
  ASSERT_EQ(received->fds.size(), 1u);
  EXPECT_EQ(Stat(received->fds[0])->st_ino, Stat(dir_)->st_ino);
}

TEST_F(SysTest, PartsGoThroughASocketWithoutWaiting) {
  auto pair = *MakeSocketPair();
  std::array<std::byte, 4096> bytes{};
  iovec whole{bytes.data(), bytes.size()};
  auto nothing = ReceiveParts(pair.second, std::span(&whole, 1));
  ASSERT_TRUE(nothing);
  EXPECT_FALSE(*nothing);
  iovec parts[] = {{bytes.data(), 1}, {bytes.data(), 2}};
  EXPECT_EQ(**SendParts(pair.first, parts), 3u);
  EXPECT_EQ(**ReceiveParts(pair.second, parts), 3u);
  // The sockets block, the calls do not.
  size_t sent = 0;
  while (auto count = *SendParts(pair.first, std::span(&whole, 1))) sent += *count;
  EXPECT_GT(sent, 0u);
  pair.second.Reset();
  EXPECT_EQ(SendParts(pair.first, parts).error().sys_errno(), EPIPE);
}

TEST_F(SysTest, PartsGoToAndFromAPlaceInAFile) {
  auto file = *MemFd("parts");
  ASSERT_TRUE(Truncate(file, 8192));
  std::byte x{'x'}, y{'y'};
  iovec parts[] = {{&x, 1}, {&y, 1}};
  EXPECT_EQ(*WritePartsAt(file, parts, 5000), 2u);
  iovec turned[] = {{&y, 1}, {&x, 1}};
  EXPECT_EQ(*ReadPartsAt(file, turned, 5000), 2u);
  EXPECT_EQ(x, std::byte{'y'});
  EXPECT_EQ(*ReadPartsAt(file, parts, 8192), 0u);
  ASSERT_TRUE(Allocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 4096));
  EXPECT_EQ(*ReadPartsAt(file, parts, 5000), 2u);
  EXPECT_EQ(x, std::byte{0});
  EXPECT_EQ(Allocate(file, FALLOC_FL_PUNCH_HOLE, 0, 1).error().sys_errno(), EOPNOTSUPP);
  EXPECT_EQ(*StatusFlags(file) & O_ACCMODE, O_RDWR);
}

TEST_F(SysTest, WhatIsForkedBehindHoldsNothingButWhatItNeeds) {
  auto said = *MakePipe(), other = *MakePipe(), stop = *MakePipe();
  int keep[] = {said.write.get(), stop.read.get()};
  ASSERT_TRUE(ForkBehind(keep, [&] {
                (void)WriteAll(said.write, "up");
                std::byte one;
                (void)ReadSome(stop.read, std::span(&one, 1));
              }).ok());
  said.write.Reset();
  other.write.Reset();
  stop.read.Reset();
  std::byte buffer[8];
  EXPECT_EQ(*ReadSome(said.read, buffer), 2u);
  EXPECT_EQ(*ReadSome(other.read, buffer), 0u);  // It runs, and does not hold this.
  stop.write.Reset();
  EXPECT_EQ(*ReadSome(said.read, buffer), 0u);
}

TEST_F(SysTest, IdsAreDistinctAndWellFormed) {
  std::string a = RandomId(12), b = RandomId(12);
  EXPECT_NE(a, b);
  EXPECT_EQ(a.size(), 12u);
  EXPECT_TRUE(a[0] >= 'a' && a[0] <= 'z');
}

}  // namespace
}  // namespace msb::sys
