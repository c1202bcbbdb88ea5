// SPDX-License-Identifier: Apache-2.0
// From tar bytes to an image and back, read by a reader that knows nothing of the writer.
#include "image/rootfs/root_disk.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/text.h"
#include "image/rootfs/erofs_format.h"
#include "image/rootfs/test_erofs_reader.h"
#include "image/rootfs/test_tar.h"
#include "sys/file.h"

namespace msb::rootfs {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Key;
using testing::Not;

UniqueFd Memory(std::string_view bytes = {}) {
  UniqueFd fd = *sys::MemFd("test");
  EXPECT_TRUE(sys::WriteAll(fd, bytes));
  ::lseek(fd.get(), 0, SEEK_SET);
  return fd;
}

struct Built {
  RootDiskSummary summary;
  SeenTree tree;
  std::string bytes;
};

Result<Built> Build(const std::vector<std::string>& tars, RootDiskOptions options = {},
                    TarKind kind = TarKind::kPlain) {
  UniqueFd out = Memory();
  RootDiskBuilder builder = TRY(RootDiskBuilder::Create(out, std::move(options)));
  for (const std::string& tar : tars) {
    UniqueFd in = Memory(tar);
    TRY(builder.AddTar(in, kind));
  }
  Built built;
  built.summary = TRY(std::move(builder).Finish());
  built.tree = TRY(ReadErofs(out));
  ::lseek(out.get(), 0, SEEK_SET);
  built.bytes = TRY(sys::ReadAll(out, 1 << 28));
  return built;
}

Result<Built> Build(const TestTar& tar, RootDiskOptions options = {}) {
  return Build(std::vector{tar.End()}, std::move(options));
}

std::string WhyNot(const Result<Built>& built) {
  return built.ok() ? "no error" : built.error().message();
}

TEST(RootDisk, KeepsWhatATarSaysOfAFile) {
  auto built = Build(TestTar().Add({.path = "etc/motd",
                                    .data = "hello",
                                    .mode = 04751,
                                    .uid = 1000,
                                    .gid = 07777777,
                                    .mtime = 1700000000}));
  ASSERT_TRUE(built.ok()) << WhyNot(built);
  const SeenFile& file = built->tree.at("etc/motd");
  EXPECT_EQ(file.mode, S_IFREG | 04751u);
  EXPECT_EQ(file.uid, 1000u);
  EXPECT_EQ(file.gid, 07777777u);
  EXPECT_EQ(file.mtime, 1700000000);
  EXPECT_EQ(file.content, "hello");
  EXPECT_EQ(built->summary.files, 1u);
  EXPECT_EQ(built->summary.directories, 2u);
  EXPECT_EQ(built->summary.image_bytes, built->bytes.size());
}

TEST(RootDisk, KeepsEveryKindOfFile) {
  auto built = Build(TestTar()
                         .Add({.path = "dir/", .type = '5', .mode = 01777})
                         .Add({.path = "dir/link", .type = '2', .link = "../x"})
                         .Add({.path = "dir/null", .type = '3', .major = 1, .minor = 3})
                         .Add({.path = "dir/disk", .type = '4', .major = 259, .minor = 70000})
                         .Add({.path = "dir/fifo", .type = '6'})
                         .Add({.path = "old-style-dir/", .type = '\0'}));
  ASSERT_TRUE(built.ok()) << WhyNot(built);
  EXPECT_EQ(built->tree.at("dir").mode, S_IFDIR | 01777u);
  EXPECT_EQ(built->tree.at("dir/link").content, "../x");
  EXPECT_EQ(built->tree.at("dir/null").device, erofs::PackDevice(1, 3));
  EXPECT_EQ(built->tree.at("dir/disk").mode, S_IFBLK | 0644u);
  EXPECT_EQ(built->tree.at("dir/disk").device, erofs::PackDevice(259, 70000));
  EXPECT_EQ(built->tree.at("dir/fifo").mode, S_IFIFO | 0644u);
  EXPECT_TRUE(S_ISDIR(built->tree.at("old-style-dir").mode));
  EXPECT_EQ(built->summary.special_files, 3u);
}

TEST(RootDisk, KeepsContentsOfEverySizeAroundTheLimits) {
  TestTar tar;
  std::vector<std::string> contents;
  for (size_t size : std::initializer_list<size_t>{0, 1, 511, 512, 513, 1023, 1024, 1025, 4095,
                                                   4096, 4097, 40000, 3 << 20}) {
    std::string data;
    for (size_t i = 0; i < size; ++i) data += static_cast<char>(i * 7 + size);
    tar.Add({.path = Cat("f", contents.size()), .data = data});
    contents.push_back(data);
  }
  auto built = Build(tar);
  ASSERT_TRUE(built.ok()) << WhyNot(built);
  for (size_t i = 0; i < contents.size(); ++i)
    EXPECT_TRUE(built->tree.at(Cat("f", i)).content == contents[i]) << contents[i].size();
  EXPECT_TRUE(built->tree.at("f6").inlined);
  EXPECT_FALSE(built->tree.at("f7").inlined);
}

TEST(RootDisk, SameInputSameBytes) {
  TestTar tar;
  tar.Pax(TestTar::Record("SCHILY.xattr.user.b", "2") + TestTar::Record("SCHILY.xattr.user.a", "1"))
      .Add({.path = "a/b/c", .data = std::string(5000, 'x')});
  EXPECT_TRUE(Build(tar)->bytes == Build(tar)->bytes);
}

TEST(RootDisk, AnImageOfOneSmallTreeHasTheseBytes) {
  // The format's fields by hand: a change of the layout must be meant.
  auto built = Build(TestTar().Add({.path = "f", .data = "hi", .mtime = 5}));
  ASSERT_TRUE(built.ok());
  ASSERT_EQ(built->bytes.size(), 8192u);
  auto bytes = AsBytes(built->bytes);
  EXPECT_EQ(Hex(bytes.subspan(1024, 4)), "e2e1f5e0");
  EXPECT_EQ(Hex(bytes.subspan(1032, 8)), "030000000c000200");  // Features, 2^12, root nid 2.
  // The root at 4096 + 64: extended with a tail, mode 040755, its 3 names of 4 bytes.
  EXPECT_EQ(Hex(bytes.subspan(4160, 16)), "05000000ed4100002800000000000000");
  EXPECT_EQ(Hex(bytes.subspan(4160 + 64, 40)),
            "020000000000000024000200"
            "020000000000000025000200"
            "060000000000000027000100"
            "2e2e2e66");
  EXPECT_EQ(Hex(bytes.subspan(4288, 16)), "05000000a48100000200000000000000");
  EXPECT_EQ(built->bytes.substr(4352, 2), "hi");
}

TEST(RootDisk, ReadsGzipAndZstdAndTheTapSeesTheTar) {
  TestTar tar;
  for (int i = 0; i < 50; ++i) tar.Add({.path = Cat("f", i), .data = std::string(9999, 'x')});
  std::string plain = tar.End();
  std::string zstd(ZSTD_compressBound(plain.size()), '\0');
  zstd.resize(ZSTD_compress(zstd.data(), zstd.size(), plain.data(), plain.size(), 1));
  std::string gzip(plain.size() + 100, '\0');
  z_stream stream{};
  ASSERT_EQ(deflateInit2(&stream, 1, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
  stream.next_in = reinterpret_cast<Bytef*>(plain.data());
  stream.avail_in = static_cast<uInt>(plain.size());
  stream.next_out = reinterpret_cast<Bytef*>(gzip.data());
  stream.avail_out = static_cast<uInt>(gzip.size());
  ASSERT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  gzip.resize(stream.total_out);
  deflateEnd(&stream);

  std::string want = Build(tar)->bytes;
  for (const std::string& packed : {plain, zstd, gzip, gzip + std::string(1000, '\0')}) {
    std::string tapped;
    UniqueFd out = Memory();
    UniqueFd in = Memory(packed);
    auto summary = WriteRootDiskFromTar(in, out, {}, [&](auto piece) { tapped += AsText(piece); });
    ASSERT_TRUE(summary.ok()) << summary.error().message();
    EXPECT_TRUE(tapped == plain);
    EXPECT_EQ(summary->input_bytes, plain.size());
    ::lseek(out.get(), 0, SEEK_SET);
    EXPECT_TRUE(*sys::ReadAll(out, 1 << 28) == want);
  }
  for (const std::string& packed : {zstd, gzip}) {
    for (size_t cut : {size_t{1}, size_t{9}, packed.size() / 2})
      EXPECT_FALSE(Build({packed.substr(0, packed.size() - cut)}).ok()) << cut;
  }
  EXPECT_THAT(WhyNot(Build({gzip + "x"})), HasSubstr("bytes after the gzip data"));
  EXPECT_THAT(WhyNot(Build({std::string("\xfd\x37zXZ\0more", 10)})), HasSubstr("xz"));
}

TEST(RootDisk, EveryCutOfATarIsAnError) {
  std::string whole = TestTar().Add({.path = "a", .data = "12345"}).Add({.path = "b"}).End(1);
  ASSERT_TRUE(Build({whole}).ok());
  for (size_t size = 0; size < whole.size(); ++size)
    EXPECT_FALSE(Build({whole.substr(0, size)}).ok()) << size;
}

TEST(RootDisk, BytesBehindTheEndMarkerAreAnError) {
  std::string tar = TestTar().Add({}).End();
  EXPECT_TRUE(Build({tar + std::string(20000, '\0')}).ok());
  EXPECT_THAT(WhyNot(Build({tar + tar})), HasSubstr("after the end marker"));
  EXPECT_THAT(WhyNot(Build({TestTar().Add({}).End(1) + tar})), HasSubstr("after the end marker"));
}

TEST(RootDisk, OtherArchivesAreRefused) {
  std::string cpio = "070701" + std::string(600, '0');
  std::string zip = "PK\x03\x04" + std::string(600, 'x');
  for (const std::string& other : {cpio, zip})
    EXPECT_THAT(WhyNot(Build({other})), HasSubstr("not a tar archive"));
}

TEST(RootDisk, ErrorsNameTheEntry) {
  EXPECT_THAT(WhyNot(Build(TestTar().Add({.path = "a/../../etc/x"}))),
              testing::AllOf(HasSubstr("a/../../etc/x"), HasSubstr("..")));
  EXPECT_THAT(WhyNot(Build(TestTar().Add({.path = "strange", .type = 'Q'}))),
              testing::AllOf(HasSubstr("strange"), HasSubstr("Q")));
}

TEST(RootDisk, LimitsStopAndSaySo) {
  auto with = [](auto change) {
    RootDiskOptions options;
    change(options.limits);
    return options;
  };
  TestTar tar;
  tar.Add({.path = "big", .data = std::string(100000, 'x')});
  EXPECT_THAT(WhyNot(Build(tar, with([](auto& l) { l.image_bytes = 50000; }))),
              testing::AllOf(HasSubstr("big"), HasSubstr("50000")));
  EXPECT_THAT(WhyNot(Build(tar, with([](auto& l) { l.file_bytes = 99999; }))),
              testing::AllOf(HasSubstr("big"), HasSubstr("99999")));
  EXPECT_THAT(WhyNot(Build(tar, with([](auto& l) { l.input_bytes = 60000; }))), HasSubstr("60000"));
  TestTar names;
  for (int i = 0; i < 20; ++i) names.Add({.path = Cat("f", i)});
  EXPECT_THAT(WhyNot(Build(names, with([](auto& l) { l.entries = 10; }))),
              testing::AllOf(HasSubstr("f10"), HasSubstr("10 entries")));
  EXPECT_THAT(WhyNot(Build(names, with([](auto& l) { l.memory_bytes = 3000; }))),
              HasSubstr("memory"));
  EXPECT_THAT(
      WhyNot(Build(TestTar().Add({.path = "12/45/78"}), with([](auto& l) { l.path_bytes = 7; }))),
      HasSubstr("longer than 7"));
  TestTar xattr;
  xattr.Pax(TestTar::Record("SCHILY.xattr.user.a", std::string(500, 'v'))).Add({});
  EXPECT_THAT(WhyNot(Build(xattr, with([](auto& l) { l.xattr_bytes = 400; }))), HasSubstr("400"));
}

TEST(RootDisk, ATerabyteOfHoleTakesLittleSpace) {
  TestTar tar;
  tar.Pax(TestTar::Record("GNU.sparse.major", "0") + TestTar::Record("GNU.sparse.minor", "1") +
          TestTar::Record("GNU.sparse.size", std::to_string(uint64_t{1} << 40)) +
          TestTar::Record("GNU.sparse.map", "4096,4,549755813888,4"))
      .Add({.path = "holes", .data = "headmidl"});
  auto built = Build(tar);
  ASSERT_TRUE(built.ok()) << WhyNot(built);
  EXPECT_LT(built->summary.image_bytes, 16u << 20);
  EXPECT_EQ(built->tree.at("holes").size, uint64_t{1} << 40);
}

TEST(RootDisk, SparseFilesReadBackWithTheirHoles) {
  std::string want(300000, '\0');
  want.replace(8192, 4096, std::string(4096, 'a'));
  want.replace(100000, 5000, std::string(5000, 'b'));
  TestTar tar;
  tar.Pax(TestTar::Record("GNU.sparse.size", "300000") +
          TestTar::Record("GNU.sparse.map", "8192,4096,100000,5000,300000,0"))
      .Add({.path = "f", .data = std::string(4096, 'a') + std::string(5000, 'b')});
  auto built = Build(tar);
  ASSERT_TRUE(built.ok()) << WhyNot(built);
  EXPECT_TRUE(built->tree.at("f").content == want);
  EXPECT_TRUE(built->tree.at("f").chunked);
  EXPECT_LT(built->summary.image_bytes, 30000u);
}

TEST(RootDisk, SparseMapsThatLieAreRefused) {
  for (std::string_view map : {"0,4,2,4", "0,4", "100,8", "0,99999999999999999999",
                               "18446744073709551615,8", "4", "x,y"}) {
    TestTar tar;
    tar.Pax(TestTar::Record("GNU.sparse.size", "16") + TestTar::Record("GNU.sparse.map", map))
        .Add({.path = "f", .data = "12345678"});
    EXPECT_FALSE(Build(tar).ok()) << map;
  }
}

TEST(RootDisk, AttributesWithoutAPlaceAreCountedNotSilent) {
  TestTar tar;
  tar.Pax(TestTar::Record("SCHILY.xattr.system.nfs4_acl", "x") +
          TestTar::Record("SCHILY.xattr.user.kept", "y") +
          TestTar::Record("SCHILY.acl.access", "user::rwx,user:lisa:r--,group::---,other::---"))
      .Add({.path = "f"});
  auto built = Build(tar);
  ASSERT_TRUE(built.ok()) << WhyNot(built);
  EXPECT_EQ(built->summary.dropped_xattrs, 2u);
  EXPECT_EQ(built->summary.first_dropped_xattr, "system.nfs4_acl of f");
  EXPECT_THAT(built->tree.at("f").xattrs, ElementsAre(Xattr{"user.kept", "y"}));
}

TEST(RootDisk, LayersOverrideAndHideWhatIsBelow) {
  std::string lower = TestTar()
                          .Add({.path = "keep", .data = "k"})
                          .Add({.path = "gone/deep", .data = "g"})
                          .Add({.path = "dir/old", .data = "o"})
                          .Add({.path = "was-file", .data = std::string(5000, 'f')})
                          .End();
  std::string upper = TestTar()
                          .Add({.path = ".wh.gone"})
                          .Add({.path = "dir/new", .data = "n"})
                          .Add({.path = "dir/.wh..wh..opq"})
                          .Add({.path = "was-file/", .type = '5'})
                          .Add({.path = "was-file/now-dir"})
                          .End();
  auto built = Build({lower, upper}, {}, TarKind::kLayer);
  ASSERT_TRUE(built.ok()) << WhyNot(built);
  EXPECT_THAT(built->tree, ElementsAre(Key(""), Key("dir"), Key("dir/new"), Key("keep"),
                                       Key("was-file"), Key("was-file/now-dir")));
  EXPECT_EQ(built->summary.overwritten_bytes, 5000u);

  auto plain = Build({upper}, {}, TarKind::kPlain);
  ASSERT_TRUE(plain.ok());
  EXPECT_THAT(plain->tree, testing::Contains(Key(".wh.gone")));
}

TEST(RootDisk, ProgressCanStopTheWork) {
  RootDiskOptions options;
  uint64_t seen = 0;
  options.progress = [&](uint64_t bytes) -> Result<void> {
    seen = bytes;
    if (bytes > (3 << 20)) return Error(Code::kUnavailable, "enough");
    return {};
  };
  TestTar tar;
  tar.Add({.path = "big", .data = std::string(10 << 20, 'x')});
  EXPECT_THAT(WhyNot(Build(tar, options)), HasSubstr("enough"));
  EXPECT_GT(seen, 3u << 20);
  EXPECT_LT(seen, 5u << 20);
}

TEST(RootDisk, LongSymlinksAndLongAttributesTogether) {
  // A tail of nearly a block behind attributes of odd sizes: there must always be a place.
  for (size_t value : std::initializer_list<size_t>{0, 3, 44, 1000, 4000, 60000}) {
    for (size_t target : std::initializer_list<size_t>{1, 100, 2047, 2048, 2049, 4094, 4095}) {
      TestTar tar;
      tar.Pax(TestTar::Record("SCHILY.xattr.trusted.t", std::string(value, 'v')) +
              TestTar::Record("linkpath", std::string(target, 't')))
          .Add({.path = "l", .type = '2'});
      auto built = Build(tar);
      ASSERT_TRUE(built.ok()) << WhyNot(built);
      EXPECT_EQ(built->tree.at("l").content, std::string(target, 't'));
      EXPECT_EQ(built->tree.at("l").xattrs.at(0).value.size(), value);
    }
  }
}

TEST(RootDisk, DirectoriesOfManyNamesKeepTheirOrder) {
  TestTar tar;
  for (int i = 0; i < 3000; ++i) tar.Add({.path = Cat("d/", i * 7919 % 3000, "-name")});
  tar.Add({.path = "d/!first"}).Add({.path = "d/\xff\xfelast"});
  auto built = Build(tar);
  ASSERT_TRUE(built.ok()) << WhyNot(built);
  EXPECT_EQ(built->tree.size(), 3004u);
}

}  // namespace
}  // namespace msb::rootfs
