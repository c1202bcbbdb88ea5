// SPDX-License-Identifier: Apache-2.0
// Tars to disks to directories, and disks that were made to be wrong. No privilege: with it, owners
// are checked as well.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstdlib>

#include "base/bytes.h"
#include "base/text.h"
#include "image/rootfs/erofs_format.h"
#include "image/rootfs/erofs_reader.h"
#include "image/rootfs/root_tree.h"
#include "image/rootfs/test_tar.h"
#include "sys/file.h"

namespace msb::rootfs {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class RootTree : public testing::Test {
 protected:
  RootTree() {
    char path[] = "/var/tmp/msb-tree-test-XXXXXX";
    path_ = ::mkdtemp(path);
    EXPECT_TRUE(sys::MkdirAt(sys::Cwd(), Cat(path_, "/tree"), 0700));
    tree_ = *sys::OpenAt(sys::Cwd(), Cat(path_, "/tree"), O_RDONLY | O_DIRECTORY);
  }
  ~RootTree() override {
    (void)::chmod(Cat(path_, "/tree/closed").c_str(), 0700);
    (void)sys::RemoveTreeAt(sys::Cwd(), path_);
  }

  static UniqueFd Disk(const TestTar& tar) {
    UniqueFd in = *sys::MemFd("tar"), out = *sys::MemFd("disk");
    EXPECT_TRUE(sys::WriteAll(in, tar.End()));
    ::lseek(in.get(), 0, SEEK_SET);
    EXPECT_TRUE(WriteRootDiskFromTar(in, out, {}).ok());
    return out;
  }
  Result<RootTreeSummary> Write(BorrowedFd disk) {
    return WriteRootTree(disk, tree_,
                         ::geteuid() == 0 ? TreeOwners::kOfImage : TreeOwners::kCaller);
  }
  // A record counts its own length as well.
  static std::string Record(const std::string& text) {
    size_t length = text.size() + 2;
    while (Cat(length).size() + 1 + text.size() + 1 != length) length++;
    return Cat(length, " ", text, "\n");
  }
  struct stat Look(const std::string& name) {
    auto found = *sys::FindAt(tree_, name);
    EXPECT_TRUE(found.has_value()) << name;
    return found.value_or(decltype(found)::value_type{});
  }
  std::string Content(const std::string& name) {
    auto content = sys::ReadFileAt(tree_, name, 1 << 22);
    return content ? *content : content.error().message();
  }
  static void Patch(BorrowedFd disk, uint64_t at, uint32_t value) {
    std::byte bytes[4];
    StoreLittle(bytes, value);
    ASSERT_TRUE(sys::WriteAllAt(disk, bytes, static_cast<off_t>(at)).ok());
  }
  static uint64_t PlaceOf(BorrowedFd disk, const std::string& name) {
    auto reader = *ErofsReader::Open(disk);
    std::byte meta[4];
    EXPECT_TRUE(sys::ReadExactlyAt(disk, meta, 1024 + 40).ok());
    auto entries = *reader.List(*reader.Load(reader.root()));
    for (const auto& entry : entries)
      if (entry.name == name)
        return LoadLittle<uint32_t>(meta) * uint64_t{4096} + entry.nid * erofs::kSlotSize;
    ADD_FAILURE() << name;
    return 0;
  }

  std::string path_;
  UniqueFd tree_;
};

TEST_F(RootTree, HasWhatTheTarHad) {
  TestTar tar;
  tar.Add({.path = "etc/", .type = '5', .mode = 0755, .mtime = 77});
  tar.Add({.path = "etc/small", .data = "few bytes", .mode = 0640, .uid = 3, .gid = 4, .mtime = 5});
  tar.Add({.path = "large", .data = std::string(10'000, 'l'), .mode = 04755});
  tar.Add({.path = "again", .type = '1', .link = "large"});
  tar.Add({.path = "link", .type = '2', .link = "/etc/small"});
  tar.Add({.path = "fifo", .type = '6', .mode = 0600});
  tar.Add({.path = "null", .type = '3', .major = 1, .minor = 3});
  tar.Add({.path = "closed/", .type = '5', .mode = 0});
  tar.Add({.path = "closed/inside", .data = "i"});
  UniqueFd disk = Disk(tar);
  auto summary = Write(disk);
  ASSERT_TRUE(summary.ok()) << summary.error().message();
  EXPECT_EQ(summary->files, 3u);
  EXPECT_EQ(summary->directories, 3u);
  EXPECT_EQ(summary->symlinks, 1u);
  EXPECT_EQ(summary->devices_left_out, 1u);

  EXPECT_EQ(Content("etc/small"), "few bytes");
  EXPECT_EQ(Content("large"), std::string(10'000, 'l'));
  EXPECT_EQ(*sys::ReadLinkAt(tree_, "link"), "/etc/small");
  EXPECT_EQ(Look("again").st_ino, Look("large").st_ino);
  EXPECT_EQ(Look("large").st_mode, static_cast<mode_t>(S_IFREG | 04755));
  EXPECT_EQ(Look("etc/small").st_mtim.tv_sec, 5);
  EXPECT_EQ(Look("etc").st_mtim.tv_sec, 77);
  EXPECT_EQ(Look("closed").st_mode, static_cast<mode_t>(S_IFDIR | 0));
  EXPECT_TRUE(S_ISFIFO(Look("fifo").st_mode));
  EXPECT_FALSE(sys::FindAt(tree_, "null")->has_value());
  bool root = ::geteuid() == 0;
  EXPECT_EQ(Look("etc/small").st_uid, root ? 3 : ::geteuid());
  EXPECT_EQ(Look("etc/small").st_gid, root ? 4 : ::getegid());
}

TEST_F(RootTree, KeepsHoles) {
  UniqueFd out = *sys::MemFd("disk");
  ASSERT_TRUE(sys::MkdirAt(sys::Cwd(), Cat(path_, "/from"), 0755).ok());
  UniqueFd from = *sys::OpenAt(sys::Cwd(), Cat(path_, "/from"), O_RDONLY | O_DIRECTORY);
  UniqueFd file = *sys::OpenAt(from, "sparse", O_WRONLY | O_CREAT, 0644);
  ASSERT_TRUE(sys::Truncate(file, off_t{1} << 30).ok());
  ASSERT_TRUE(sys::WriteAllAt(file, AsBytes("middle"), off_t{1} << 29).ok());
  ASSERT_TRUE(WriteRootDiskFromDirectory(from, out, {}).ok());
  ASSERT_TRUE(Write(out).ok());
  EXPECT_EQ(Look("sparse").st_size, off_t{1} << 30);
  EXPECT_LT(Look("sparse").st_blocks, 4096);
  std::byte seen[6];
  UniqueFd made = *sys::OpenAt(tree_, "sparse", O_RDONLY);
  ASSERT_TRUE(sys::ReadExactlyAt(made, seen, off_t{1} << 29).ok());
  EXPECT_EQ(AsText(seen), "middle");
}

TEST_F(RootTree, LeavesOutAttributesThatTheKernelWouldObey) {
  TestTar tar;
  tar.Pax(Cat(Record("SCHILY.xattr.user.overlay.opaque=y"), Record("SCHILY.xattr.user.a=b")));
  tar.Add({.path = "file", .data = "x"});
  UniqueFd disk = Disk(tar);
  auto summary = Write(disk);
  ASSERT_TRUE(summary.ok()) << summary.error().message();
  char value[8];
  std::string file = Cat(path_, "/tree/file");
  EXPECT_EQ(::getxattr(file.c_str(), "user.overlay.opaque", value, sizeof value), -1);
  EXPECT_EQ(summary->dropped_xattrs, 1u);
}

TEST_F(RootTree, RefusesADirectoryWithTwoNames) {
  TestTar tar;
  tar.Add({.path = "a/", .type = '5', .mode = 0755});
  tar.Add({.path = "a/b/", .type = '5', .mode = 0755});
  UniqueFd disk = Disk(tar);
  auto reader = *ErofsReader::Open(disk);
  // The entry of "b" in "a" becomes one of "a" itself: a walk without end.
  auto a = reader.List(*reader.Load(reader.root()))->at(0).nid;
  auto b = reader.List(*reader.Load(a))->at(0).nid;
  std::string bytes = *sys::ReadFileAt(sys::Cwd(), Cat("/proc/self/fd/", disk.get()), 1 << 22);
  for (size_t at = bytes.size() - 64; at > 4096; at -= 4)
    if (LoadLittle<uint64_t>(AsBytes(bytes).data() + at) == b)
      Patch(disk, at, static_cast<uint32_t>(a));
  auto summary = Write(disk);
  ASSERT_FALSE(summary.ok());
  EXPECT_EQ(summary.error().code(), Code::kDataLoss) << summary.error().message();
  EXPECT_THAT(summary.error().message(), HasSubstr("two names"));
}

TEST_F(RootTree, RefusesAddressesOutsideOfTheDisk) {
  TestTar tar;
  tar.Add({.path = "large", .data = std::string(10'000, 'l')});
  UniqueFd disk = Disk(tar);
  Patch(disk, PlaceOf(disk, "large") + 16, 0xfffffff0);
  auto summary = Write(disk);
  ASSERT_FALSE(summary.ok());
  EXPECT_THAT(summary.error().message(), HasSubstr("large"));
  EXPECT_THAT(summary.error().remedy(), HasSubstr("import"));
}

TEST_F(RootTree, RefusesMoreContentThanTheDiskHas) {
  TestTar tar;
  for (char name = 'a'; name <= 'h'; name++)
    tar.Add({.path = std::string(1, name), .data = std::string(40'960, name)});
  UniqueFd disk = Disk(tar);
  // All of them the bytes of the whole disk.
  for (char name = 'a'; name <= 'h'; name++) {
    Patch(disk, PlaceOf(disk, std::string(1, name)) + 8, 8 * 40'960);
    Patch(disk, PlaceOf(disk, std::string(1, name)) + 16, 0);
  }
  auto summary = Write(disk);
  ASSERT_FALSE(summary.ok());
  EXPECT_THAT(summary.error().message(), HasSubstr("overlap"));
}

TEST_F(RootTree, RefusesWhatIsNoDisk) {
  UniqueFd zeros = *sys::MemFd("zeros");
  ASSERT_TRUE(sys::Truncate(zeros, 8192).ok());
  EXPECT_EQ(Write(zeros).error().code(), Code::kDataLoss);
  UniqueFd nothing = *sys::MemFd("nothing");
  EXPECT_EQ(Write(nothing).error().code(), Code::kDataLoss);
  EXPECT_THAT(*sys::ListDirectory(tree_), IsEmpty());
}

TEST_F(RootTree, SaysThatATreeIsTooDeep) {
  std::string path;
  for (size_t i = 0; i <= kMaxTreeDepth; i++) path += "d/";
  TestTar tar;
  tar.Pax(Record(Cat("path=", path)));
  tar.Add({.path = "d/", .type = '5', .mode = 0755});
  UniqueFd disk = Disk(tar);
  auto summary = Write(disk);
  ASSERT_FALSE(summary.ok());
  EXPECT_THAT(summary.error().message(), HasSubstr("nested"));
  EXPECT_THAT(summary.error().remedy(), HasSubstr("vm"));
}

}  // namespace
}  // namespace msb::rootfs
