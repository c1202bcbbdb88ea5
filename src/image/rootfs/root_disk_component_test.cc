// SPDX-License-Identifier: Apache-2.0
// Directories of a real file system into images, random trees there and back, and fsck.erofs as the
// second opinion. No privilege.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstdlib>

#include "base/bytes.h"
#include "base/text.h"
#include "image/rootfs/directory_reader.h"
#include "image/rootfs/root_disk.h"
#include "image/rootfs/test_erofs_reader.h"
#include "image/rootfs/test_tar.h"
#include "sys/file.h"

namespace msb::rootfs {
namespace {

using testing::HasSubstr;

class RootDiskComponent : public testing::Test {
 protected:
  RootDiskComponent() {
    char path[] = "/var/tmp/msb-rootfs-test-XXXXXX";
    path_ = ::mkdtemp(path);
    dir_ = *sys::OpenAt(sys::Cwd(), path_, O_RDONLY | O_DIRECTORY);
    EXPECT_TRUE(sys::MkdirAt(dir_, "tree", 0755));
    tree_ = *sys::OpenAt(dir_, "tree", O_RDONLY | O_DIRECTORY);
  }
  ~RootDiskComponent() override { (void)sys::RemoveTreeAt(sys::Cwd(), path_); }

  UniqueFd Image() { return *sys::OpenAt(dir_, "image", O_RDWR | O_CREAT | O_TRUNC, 0600); }
  void Write(const std::string& name, std::string_view content) {
    auto file = *sys::OpenAt(tree_, name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    ASSERT_TRUE(sys::WriteAll(file, content));
  }
  // What fsck.erofs says, "" when it is content.
  std::string Fsck() {
    std::string command = Cat("fsck.erofs --extract ", path_, "/image >", path_, "/fsck 2>&1");
    if (std::system(command.c_str()) == 0) return "";
    return Cat("fsck.erofs: ", *sys::ReadFileAt(dir_, "fsck", 1 << 20));
  }

  std::string path_;
  UniqueFd dir_;
  UniqueFd tree_;
};

TEST_F(RootDiskComponent, ADirectoryKeepsWhatTheFileSystemSays) {
  Write("file", std::string(10000, 'f'));
  ASSERT_EQ(::linkat(tree_.get(), "file", tree_.get(), "again", 0), 0);
  ASSERT_TRUE(sys::SymlinkAt("/nowhere", tree_, "link"));
  ASSERT_EQ(::mkfifoat(tree_.get(), "fifo", 0600), 0);
  ASSERT_TRUE(sys::MkdirAt(tree_, "sub", 0700));
  Write("sub/inner", "i");
  ASSERT_EQ(::setxattr(Cat(path_, "/tree/file").c_str(), "user.key", "value", 5, 0), 0);
  timespec times[2] = {{0, 0}, {-5, 123456789}};
  ASSERT_EQ(::utimensat(tree_.get(), "file", times, 0), 0);

  UniqueFd image = Image();
  auto summary = WriteRootDiskFromDirectory(tree_, image, {});
  ASSERT_TRUE(summary.ok()) << summary.error().message();
  auto seen = ReadErofs(image);
  ASSERT_TRUE(seen.ok()) << seen.error().message();
  EXPECT_EQ(seen->size(), 7u);
  const SeenFile& file = seen->at("file");
  EXPECT_EQ(file.content, std::string(10000, 'f'));
  EXPECT_EQ(file.nid, seen->at("again").nid);
  EXPECT_EQ(file.nlink, 2u);
  EXPECT_EQ(file.uid, ::getuid());
  EXPECT_EQ(file.mtime, -5);
  EXPECT_EQ(file.mtime_nsec, 123456789u);
  EXPECT_THAT(file.xattrs, testing::Contains(Xattr{"user.key", "value"}));
  EXPECT_EQ(seen->at("link").content, "/nowhere");
  EXPECT_EQ(seen->at("fifo").mode, S_IFIFO | 0600u);
  EXPECT_EQ(seen->at("sub").mode, S_IFDIR | 0700u);
  EXPECT_EQ(summary->extra_hard_links, 1u);
  EXPECT_EQ(Fsck(), "");
}

TEST_F(RootDiskComponent, HolesOfTheFileSystemStayHoles) {
  auto file = *sys::OpenAt(tree_, "holes", O_WRONLY | O_CREAT, 0644);
  ASSERT_TRUE(sys::WriteAllAt(file, AsBytes("middle"), 20 << 20));
  ASSERT_TRUE(sys::Truncate(file, 40 << 20));
  UniqueFd image = Image();
  auto summary = WriteRootDiskFromDirectory(tree_, image, {});
  ASSERT_TRUE(summary.ok()) << summary.error().message();
  EXPECT_LT(summary->image_bytes, 200000u);
  auto seen = ReadErofs(image);
  ASSERT_TRUE(seen.ok()) << seen.error().message();
  std::string want(40 << 20, '\0');
  want.replace(20 << 20, 6, "middle");
  EXPECT_TRUE(seen->at("holes").content == want);
  EXPECT_EQ(Fsck(), "");
}

TEST_F(RootDiskComponent, AnUnreadableFileIsNamed) {
  if (::geteuid() == 0) {
    // Root reads everything, so the refusal is provoked as another user.
    ASSERT_EQ(::chmod(path_.c_str(), 0755), 0);
  }
  Write("secret", "s");
  ASSERT_EQ(::fchmodat(tree_.get(), "secret", 0, 0), 0);
  UniqueFd image = Image();
  pid_t child = ::fork();
  if (child == 0) {
    if (::geteuid() == 0 && (::setgid(65534) != 0 || ::setuid(65534) != 0)) ::_exit(3);
    auto summary = WriteRootDiskFromDirectory(tree_, image, {});
    bool named = !summary.ok() && summary.error().code() == Code::kPermissionDenied &&
                 summary.error().message().find("secret") != std::string::npos;
    ::_exit(named ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST_F(RootDiskComponent, AFileThatChangesWhileItIsReadIsAnError) {
  Write("log", std::string(1 << 20, 'x'));
  auto appended = *sys::OpenAt(tree_, "log", O_WRONLY);
  for (off_t size : {off_t{2 << 20}, off_t{1000}}) {
    DirectoryReader reader(tree_);
    DirectoryEntry entry;
    ASSERT_TRUE(*reader.Next(entry));
    ASSERT_TRUE(*reader.Next(entry));
    ASSERT_EQ(entry.path, "log");
    ASSERT_TRUE(reader.Read(1).ok());
    EXPECT_TRUE(reader.CheckUnchanged().ok());
    ASSERT_TRUE(sys::Truncate(appended, size));
    EXPECT_THAT(reader.CheckUnchanged().error().message(), HasSubstr("changed"));
    if (size == 1000) {
      EXPECT_EQ(reader.Read(5000)->size(), 999u);
      EXPECT_THAT(reader.Read(5000).error().message(), HasSubstr("shorter"));
    }
  }
}

TEST_F(RootDiskComponent, SymlinksInTheDirectoryAreNotFollowed) {
  ASSERT_TRUE(sys::MkdirAt(tree_, "real", 0755));
  Write("real/file", "x");
  ASSERT_TRUE(sys::SymlinkAt("real", tree_, "link"));
  ASSERT_TRUE(sys::SymlinkAt("/etc", tree_, "out"));
  UniqueFd image = Image();
  ASSERT_TRUE(WriteRootDiskFromDirectory(tree_, image, {}).ok());
  auto seen = ReadErofs(image);
  ASSERT_TRUE(seen.ok()) << seen.error().message();
  EXPECT_THAT(*seen,
              testing::ElementsAre(testing::Key(""), testing::Key("link"), testing::Key("out"),
                                   testing::Key("real"), testing::Key("real/file")));
}

TEST_F(RootDiskComponent, FsckAgreesWithAWideTree) {
  TestTar tar;
  for (int i = 0; i < 2000; ++i)
    tar.Add({.path = Cat("wide/name-", i), .data = std::string(static_cast<size_t>(i * 3), 'x')});
  tar.Pax(TestTar::Record("SCHILY.xattr.user.k", std::string(5000, 'v'))).Add({.path = "attr"});
  std::string bytes = tar.End();
  auto in = *sys::MemFd("tar");
  ASSERT_TRUE(sys::WriteAll(in, bytes));
  ::lseek(in.get(), 0, SEEK_SET);
  UniqueFd image = Image();
  ASSERT_TRUE(WriteRootDiskFromTar(in, image, {}).ok());
  EXPECT_TRUE(ReadErofs(image).ok());
  EXPECT_EQ(Fsck(), "");
}

// A tree of random names, kinds, sizes and attributes goes to tar, to an image, and back.
RC_GTEST_FIXTURE_PROP(RootDiskComponent, RandomTreesComeBack, ()) {
  auto names = *rc::gen::container<std::vector<std::string>>(
      rc::gen::nonEmpty(rc::gen::container<std::string>(rc::gen::inRange<char>(1, 127))));
  TestTar tar;
  std::map<std::string, std::string> files;
  std::vector<std::string> parents = {""};
  for (std::string name : names) {
    std::replace(name.begin(), name.end(), '/', '_');
    name = "n" + name.substr(0, 80);
    std::string path = parents[*rc::gen::inRange<size_t>(0, parents.size())] + name;
    if (files.contains(path)) continue;
    if (path.size() < 400 && *rc::gen::inRange(0, 4) == 0) {
      tar.Pax(TestTar::Record("path", path + "/")).Add({.type = '5'});
      parents.push_back(path + "/");
      files[path] = "/";
      continue;
    }
    std::string data(*rc::gen::inRange<size_t>(0, 9000), name[0]);
    std::string value(*rc::gen::inRange<size_t>(0, 300), 'v');
    tar.Pax(TestTar::Record("path", path) + TestTar::Record("SCHILY.xattr.user.v", value))
        .Add({.data = data, .mtime = *rc::gen::inRange(0, 1 << 30)});
    files[path] = data;
  }
  auto in = *sys::MemFd("tar");
  RC_ASSERT(sys::WriteAll(in, tar.End()).ok());
  ::lseek(in.get(), 0, SEEK_SET);
  UniqueFd image = Image();
  auto written = WriteRootDiskFromTar(in, image, {});
  RC_ASSERT(written.ok());
  auto seen = ReadErofs(image);
  RC_ASSERT(seen.ok());
  RC_ASSERT(seen->size() == files.size() + 1);
  for (const auto& [path, data] : files) {
    if (data == "/")
      RC_ASSERT(S_ISDIR(seen->at(path).mode));
    else
      RC_ASSERT(seen->at(path).content == data);
  }
}

}  // namespace
}  // namespace msb::rootfs
