// SPDX-License-Identifier: Apache-2.0
// Records, names, garbage and disks on a real file system.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/text.h"
#include "base/units.h"
#include "sandbox/cgroup_name.h"
#include "sandbox/disk.h"
#include "sandbox/log_file.h"
#include "sandbox/record.h"
#include "sandbox/sandboxes.h"

namespace msb::sandbox {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

class RecordTest : public testing::Test {
 protected:
  RecordTest() {
    char path[] = "/tmp/msb-record-test-XXXXXX";
    path_ = ::mkdtemp(path);
    ::setenv("MICROSANDBOX_HOME", path_.c_str(), 1);
    home_ = std::make_unique<Home>(*Home::Open());
  }
  ~RecordTest() override { EXPECT_TRUE(sys::RemoveTreeAt(sys::Cwd(), path_).ok()); }

  static SandboxSpec Spec(std::string name, Lifetime lifetime = Lifetime::kDetached) {
    SandboxSpec spec;
    spec.name = std::move(name);
    spec.lifetime = lifetime;
    return spec;
  }
  Result<Record> Create(std::string id, const SandboxSpec& spec) {
    return Record::Create(home_->dir(), spec, std::move(id));
  }
  bool Exists(const std::string& path) { return sys::FindAt(home_->dir(), path)->has_value(); }

  std::string path_;
  std::unique_ptr<Home> home_;
};

TEST_F(RecordTest, IsFoundByNameIdAndPrefixWhileItsLockIsHeld) {
  auto record = *Create("abcdefgh", Spec("web"));
  RecordState state;
  state.state = State::kRunning;
  ASSERT_TRUE(record.WriteState(state, Record::Durability::kNone).ok());
  for (const char* asked : {"web", "abcdefgh", "abcd"}) {
    auto found = FindSandbox(*home_, asked);
    ASSERT_TRUE(found.ok()) << asked;
    EXPECT_EQ(found->id, "abcdefgh");
    EXPECT_EQ(found->state, State::kRunning);
  }
  for (const char* asked : {"abc", "", "../web", ".names", "wob"}) {
    auto found = FindSandbox(*home_, asked);
    EXPECT_EQ(found.error().code(), Code::kNotFound) << asked;
  }
  EXPECT_THAT(FindSandbox(*home_, "wob").error().remedy(), HasSubstr("did you mean web"));
}

TEST_F(RecordTest, FreeLockWithoutAnOutcomeIsADeadSupervisor) {
  {
    auto record = *Create("abcdefgh", Spec("web"));
    RecordState state;
    state.state = State::kRunning;
    ASSERT_TRUE(record.WriteState(state, Record::Durability::kNone).ok());
  }
  auto all = *ListSandboxes(*home_);
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].state, State::kEnded);
  EXPECT_EQ(all[0].outcome->kind, OutcomeKind::kSupervisorDied);
  EXPECT_THAT(all[0].json, HasSubstr("supervisor_died"));
}

TEST_F(RecordTest, NameIsTakenWhileItsOwnerLivesOrIsKept) {
  {
    auto first = *Create("abcdefgh", Spec("web"));
    auto second = Create("ijklmnop", Spec("web"));
    ASSERT_EQ(second.error().code(), Code::kAlreadyExists);
    EXPECT_EQ(second.error().remedy(), "msb stop web, or another --name");
    EXPECT_FALSE(Exists("sandboxes/ijklmnop"));
  }
  auto third = Create("ijklmnop", Spec("web"));
  ASSERT_EQ(third.error().code(), Code::kAlreadyExists);
  EXPECT_EQ(third.error().remedy(), "msb rm web, or another --name");
}

TEST_F(RecordTest, NameOfADeadAttachedSandboxIsFree) {
  { auto first = *Create("abcdefgh", Spec("web", Lifetime::kAttached)); }
  auto second = Create("ijklmnop", Spec("web"));
  ASSERT_TRUE(second.ok()) << second.error().message();
  EXPECT_EQ(FindSandbox(*home_, "web")->id, "ijklmnop");
}

TEST_F(RecordTest, RemoveLeavesNothing) {
  auto record = *Create("abcdefgh", Spec("web"));
  ASSERT_TRUE(record.Remove().ok());
  EXPECT_FALSE(Exists("sandboxes/abcdefgh"));
  EXPECT_FALSE(Exists("sandboxes/.names/web"));
}

TEST_F(RecordTest, GarbageIsWhatNoLockOwnsButNotWhatIsKept) {
  auto alive = *Create("aaaaaaaa", Spec("alive", Lifetime::kAttached));
  { auto dead = *Create("bbbbbbbb", Spec("dead", Lifetime::kAttached)); }
  { auto kept = *Create("cccccccc", Spec("kept")); }
  // Makers that died between mkdir and lock, and between lock and spec.
  ASSERT_TRUE(sys::MkdirAt(home_->dir(), "sandboxes/dddddddd", 0700).ok());
  ASSERT_TRUE(sys::MkdirAt(home_->dir(), "sandboxes/eeeeeeee", 0700).ok());
  (void)*sys::OpenAt(home_->dir(), "sandboxes/eeeeeeee/lock", O_CREAT | O_RDWR, 0600);
  ASSERT_TRUE(sys::SymlinkAt("gone", home_->dir(), "sandboxes/.names/stale").ok());
  auto removed = *CollectGarbage(*home_);
  EXPECT_THAT(removed, Contains("record bbbbbbbb"));
  EXPECT_THAT(removed, Contains("record dddddddd"));
  EXPECT_THAT(removed, Contains("record eeeeeeee"));
  EXPECT_THAT(removed, Contains("name dead"));
  EXPECT_THAT(removed, Contains("name stale"));
  EXPECT_EQ(removed.size(), 5u);
  EXPECT_TRUE(Exists("sandboxes/aaaaaaaa"));
  EXPECT_TRUE(Exists("sandboxes/cccccccc"));
  EXPECT_THAT(*CollectGarbage(*home_), IsEmpty());
}

TEST_F(RecordTest, ReconcileRemovesDeadThrowawaysOnly) {
  auto alive = *Create("aaaaaaaa", Spec("alive", Lifetime::kAttached));
  { auto dead = *Create("bbbbbbbb", Spec("dead", Lifetime::kAttached)); }
  { auto kept = *Create("cccccccc", Spec("kept")); }
  ASSERT_TRUE(sys::MkdirAt(home_->dir(), "sandboxes/.dead-dddddddd", 0700).ok());
  Reconcile(*home_);
  EXPECT_FALSE(Exists("sandboxes/bbbbbbbb"));
  EXPECT_FALSE(Exists("sandboxes/.names/dead"));
  EXPECT_FALSE(Exists("sandboxes/.dead-dddddddd"));
  EXPECT_TRUE(Exists("sandboxes/aaaaaaaa"));
  EXPECT_EQ(FindSandbox(*home_, "kept")->outcome->kind, OutcomeKind::kSupervisorDied);
}

TEST_F(RecordTest, ReconcileTouchesNothingWhenOnlyTheLivingAndTheKeptAreThere) {
  auto alive = *Create("aaaaaaaa", Spec("alive", Lifetime::kAttached));
  { auto kept = *Create("cccccccc", Spec("kept")); }
  // Made and not locked yet: its maker is at it.
  ASSERT_TRUE(sys::MkdirAt(home_->dir(), "sandboxes/dddddddd", 0700).ok());
  // It would need the gate, which makers share: with nothing to do it must not ask for it.
  ASSERT_TRUE(sys::UnlinkAt(home_->dir(), "sandboxes/.gate").ok());
  Reconcile(*home_);
  EXPECT_FALSE(Exists("sandboxes/.gate"));
  EXPECT_TRUE(Exists("sandboxes/dddddddd"));
}

TEST_F(RecordTest, ReconcileDoesNotWaitForTheGate) {
  { auto dead = *Create("bbbbbbbb", Spec("", Lifetime::kAttached)); }
  UniqueFd sandboxes = *sys::OpenAt(home_->dir(), "sandboxes", O_RDONLY | O_DIRECTORY);
  auto gate = PassGate(sandboxes, GateMode::kShared);
  ASSERT_TRUE(gate.ok());
  Reconcile(*home_);
  EXPECT_TRUE(Exists("sandboxes/bbbbbbbb"));
}

TEST_F(RecordTest, CgroupThatARecordNamesIsOnlyEverACgroup) {
  std::string name = CgroupName(home_->dir(), "bbbbbbbb");
  ASSERT_TRUE(sys::EnsureDirectory(home_->dir(), Cat("fake/microsandbox/", name), 0700).ok());
  SandboxSpec spec = Spec("", Lifetime::kAttached);
  for (const std::string& given : {path_ + "/fake", path_ + "/none"}) {
    spec.cgroup = given;
    { auto dead = *Create("bbbbbbbb", spec); }
    EXPECT_THAT(*CollectGarbage(*home_), testing::ElementsAre("record bbbbbbbb"));
    EXPECT_TRUE(Exists(Cat("fake/microsandbox/", name)));
  }
}

TEST_F(RecordTest, ScopeThatARecordNamesIsOnlyEverItsOwnAndACgroup) {
  ASSERT_TRUE(sys::EnsureDirectory(home_->dir(), "fake/msb-bbbbbbbb.scope/machine", 0700).ok());
  const std::string own = path_ + "/fake/msb-bbbbbbbb.scope/machine";
  EXPECT_FALSE(IsListed({"", {own}}, "bbbbbbbb"));
  EXPECT_FALSE(IsListed({"/given", {}}, "bbbbbbbb"));
  EXPECT_TRUE(IsListed({"", {"/sys/fs/cgroup/msb-cccccccc.scope/machine"}}, "bbbbbbbb"));
  EXPECT_TRUE(IsListed({"", {"msb-bbbbbbbb.scope/machine"}}, "bbbbbbbb"));
  RecordState state;
  state.cgroups = {own};
  for (Lifetime lifetime : {Lifetime::kAttached, Lifetime::kDetached}) {
    {
      auto dead = *Create("bbbbbbbb", Spec("", lifetime));
      ASSERT_TRUE(dead.WriteState(state, Record::Durability::kSynced).ok());
    }
    ASSERT_TRUE(CollectGarbage(*home_).ok());
    if (auto left = FindSandbox(*home_, "bbbbbbbb")) {
      ASSERT_TRUE(RemoveSandbox(*home_, *left).ok());
    }
    EXPECT_FALSE(Exists("sandboxes/bbbbbbbb"));
    EXPECT_TRUE(Exists("fake/msb-bbbbbbbb.scope/machine"));
  }
}

TEST_F(RecordTest, TemplatesOfSizesThatNobodyUsesAreCollected) {
  UniqueFd cache = *sys::EnsureDirectory(home_->dir(), "cache", 0700);
  ASSERT_TRUE(MakeDisk(cache, home_->dir(), 16 * kMiB).ok());
  ASSERT_TRUE(MakeDisk(cache, home_->dir(), 32 * kMiB).ok());
  constexpr const char* kUsed = "ext4-16777216-1.img";
  constexpr const char* kUnused = "ext4-33554432-1.img";
  EXPECT_THAT(*CollectGarbage(*home_), IsEmpty());
  timespec old[2] = {};
  old[0].tv_sec = old[1].tv_sec = ::time(nullptr) - 31 * 24 * 3600;
  for (const char* name : {kUsed, kUnused}) ASSERT_EQ(::utimensat(cache.get(), name, old, 0), 0);
  ASSERT_TRUE(MakeDisk(cache, home_->dir(), 16 * kMiB).ok());
  EXPECT_THAT(*CollectGarbage(*home_), testing::ElementsAre(Cat("disk template ", kUnused)));
  EXPECT_TRUE(sys::FindAt(cache, kUsed)->has_value());
}

TEST_F(RecordTest, RunningSandboxIsNotRemoved) {
  auto record = *Create("abcdefgh", Spec("web"));
  auto info = *FindSandbox(*home_, "web");
  auto removed = RemoveSandbox(*home_, info);
  ASSERT_EQ(removed.error().code(), Code::kFailedPrecondition);
  EXPECT_EQ(removed.error().remedy(), "msb stop web");
}

TEST_F(RecordTest, EndedSandboxIsRemovedWithItsName) {
  { auto record = *Create("abcdefgh", Spec("web")); }
  ASSERT_TRUE(RemoveSandbox(*home_, *FindSandbox(*home_, "web")).ok());
  EXPECT_FALSE(Exists("sandboxes/abcdefgh"));
  EXPECT_EQ(FindSandbox(*home_, "web").error().code(), Code::kNotFound);
}

TEST_F(RecordTest, ConnectSaysThatASandboxHasEnded) {
  { auto record = *Create("abcdefgh", Spec("web")); }
  auto socket = Connect(*home_, *FindSandbox(*home_, "web"));
  EXPECT_EQ(socket.error().code(), Code::kFailedPrecondition);
  EXPECT_THAT(socket.error().message(), HasSubstr("web has ended"));
}

TEST_F(RecordTest, HomeThatCannotBeWrittenIsRefusedWithARemedy) {
  ::setenv("MICROSANDBOX_HOME", "/proc/self/home", 1);
  auto home = Home::Open();
  ASSERT_FALSE(home.ok());
  EXPECT_THAT(home.error().remedy(), HasSubstr("MICROSANDBOX_HOME"));
  ::setenv("MICROSANDBOX_HOME", "relative", 1);
  EXPECT_EQ(Home::Open().error().code(), Code::kInvalidArgument);
}

TEST_F(RecordTest, CgroupNamesSayWhoseTheyAre) {
  std::string name = CgroupName(home_->dir(), "abcdefgh");
  EXPECT_EQ(IdOfCgroup(home_->dir(), name), "abcdefgh");
  UniqueFd other = *sys::OpenAt(sys::Cwd(), "/", O_RDONLY | O_DIRECTORY);
  EXPECT_FALSE(IdOfCgroup(other, name).has_value());
}

TEST_F(RecordTest, LogRotatesAtItsLimit) {
  auto log = *LogFile::Create(home_->dir(), "out.log", 10);
  for (const char* text : {"12345", "67890", "abcde"}) ASSERT_TRUE(log.Append(AsBytes(text)).ok());
  EXPECT_EQ(*sys::ReadFileAt(home_->dir(), "out.log.1", 100), "1234567890");
  EXPECT_EQ(*sys::ReadFileAt(home_->dir(), "out.log", 100), "abcde");
}

TEST_F(RecordTest, DiskIsASparseCopyOfATemplateMadeOnce) {
  UniqueFd cache = *sys::EnsureDirectory(home_->dir(), "cache", 0700);
  auto disk = MakeDisk(cache, home_->dir(), 64 * kMiB);
  if (!disk && disk.error().remedy() == "apt-get install e2fsprogs") GTEST_SKIP();
  ASSERT_TRUE(disk.ok()) << disk.error().message();
  auto info = *sys::Stat(*disk);
  EXPECT_EQ(static_cast<uint64_t>(info.st_size), 64 * kMiB);
  EXPECT_LT(info.st_blocks, 4096);
  std::byte magic[2];
  ASSERT_TRUE(sys::ReadExactlyAt(*disk, magic, 1024 + 56).ok());
  EXPECT_EQ(LoadLittle<uint16_t>(magic), 0xef53);  // ext4's superblock.
  auto before = *sys::FindAt(cache, "ext4-67108864-1.img");
  ASSERT_TRUE(MakeDisk(cache, home_->dir(), 64 * kMiB).ok());
  auto after = *sys::FindAt(cache, "ext4-67108864-1.img");
  EXPECT_EQ(before->st_ino, after->st_ino);
}

TEST_F(RecordTest, DiskInMemoryIsToldFromOneOnADisk) {
  UniqueFd memory = *sys::MemFd("disk");
  ASSERT_TRUE(sys::Truncate(memory, 1 << 20).ok());
  EXPECT_TRUE(*LiesInMemory(memory));
  UniqueFd file = *sys::UnnamedFile(home_->dir());
  ASSERT_TRUE(sys::Truncate(file, 1 << 20).ok());
  struct statfs info {};
  ASSERT_EQ(::fstatfs(file.get(), &info), 0);
  if (info.f_type == EXT4_SUPER_MAGIC || info.f_type == XFS_SUPER_MAGIC ||
      info.f_type == BTRFS_SUPER_MAGIC) {
    EXPECT_FALSE(*LiesInMemory(file));
  }
}

TEST_F(RecordTest, CopyKeepsDataAndHoles) {
  UniqueFd from = *sys::UnnamedFile(home_->dir());
  UniqueFd to = *sys::UnnamedFile(home_->dir());
  ASSERT_TRUE(sys::Truncate(from, 4 << 20).ok());
  ASSERT_TRUE(sys::WriteAllAt(from, AsBytes("middle"), 2 << 20).ok());
  ASSERT_TRUE(CopySparse(from, to, 4 << 20).ok());
  std::byte text[6];
  ASSERT_TRUE(sys::ReadExactlyAt(to, text, 2 << 20).ok());
  EXPECT_EQ(AsText(text), "middle");
  EXPECT_LT((*sys::Stat(to)).st_blocks, 2048);
}

}  // namespace
}  // namespace msb::sandbox
