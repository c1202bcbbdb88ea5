// SPDX-License-Identifier: Apache-2.0
// Dialects of tar and the ways in which they can be damaged.
#include "image/rootfs/tar_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/bytes.h"
#include "base/text.h"
#include "image/rootfs/acl_text.h"
#include "image/rootfs/test_tar.h"

namespace msb::rootfs {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

Result<std::vector<TarEntry>> ReadAll(std::string_view tar) {
  InputStream input(ProduceFromMemory(AsBytes(tar)), {.max_bytes = 1 << 30});
  TarReader reader(input, {});
  std::vector<TarEntry> entries;
  TarEntry entry;
  while (TRY(reader.Next(entry))) entries.push_back(entry);
  return entries;
}
Result<std::vector<TarEntry>> ReadAll(const TestTar& tar) { return ReadAll(tar.End()); }

TarEntry ReadOne(const TestTar& tar) {
  auto entries = ReadAll(tar);
  EXPECT_TRUE(entries.ok()) << (entries.ok() ? "" : entries.error().message());
  if (!entries || entries->size() != 1) {
    ADD_FAILURE() << "not one entry";
    return {};
  }
  return std::move(entries->front());
}

std::string WhyNot(const TestTar& tar) {
  auto entries = ReadAll(tar);
  return entries.ok() ? "no error" : entries.error().message();
}

std::string Header(const TestEntry& entry) { return TestTar().Add(entry).bytes().substr(0, 512); }

TEST(TarReader, JoinsTheUstarPrefix) {
  EXPECT_EQ(ReadOne(TestTar().Add({.path = "name", .prefix = "some/where"})).path,
            "some/where/name");
}

TEST(TarReader, OldAndGnuHeadersHaveNoPrefix) {
  EXPECT_EQ(ReadOne(TestTar().Add({.path = "n", .prefix = "junk", .magic = ""})).path, "n");
  EXPECT_EQ(ReadOne(TestTar().Add({.path = "n", .prefix = "junk", .magic = "ustar  "})).path, "n");
}

TEST(TarReader, ReadsGnuLongNamesAndLinks) {
  std::string path(300, 'p');
  std::string link(300, 'l');
  TestTar tar;
  tar.Add({.path = "././@LongLink", .type = 'K', .data = link + '\0'})
      .Add({.path = "././@LongLink", .type = 'L', .data = path + '\0'})
      .Add({.path = "short", .type = '2', .link = "short"})
      .Add({.path = "next"});
  auto entries = ReadAll(tar);
  ASSERT_TRUE(entries.ok());
  ASSERT_EQ(entries->size(), 2u);
  EXPECT_EQ((*entries)[0].path, path);
  EXPECT_EQ((*entries)[0].link, link);
  EXPECT_EQ((*entries)[1].path, "next");
}

TEST(TarReader, NamesAreBytes) {
  std::string path = "\xff\xfe caf\xe9 \n";
  EXPECT_EQ(ReadOne(TestTar().Add({.path = path})).path, path);
  EXPECT_EQ(
      ReadOne(TestTar()
                  .Pax(TestTar::Record("hdrcharset", "BINARY") + TestTar::Record("path", path))
                  .Add({}))
          .path,
      path);
}

TEST(TarReader, PaxOverridesTheHeaderAndGlobalsHoldOn) {
  TestTar tar;
  tar.Pax(TestTar::Record("uid", "7") + TestTar::Record("mtime", "5.25"), 'g')
      .Pax(TestTar::Record("uid", "4294967294") + TestTar::Record("path", "long"))
      .Add({.uid = 1})
      .Add({.path = "second", .uid = 1})
      .Pax(TestTar::Record("uid", ""))
      .Add({.path = "third", .uid = 1});
  auto entries = ReadAll(tar);
  ASSERT_TRUE(entries.ok());
  EXPECT_EQ((*entries)[0].path, "long");
  EXPECT_EQ((*entries)[0].attributes.uid, 4294967294u);
  EXPECT_EQ((*entries)[0].attributes.mtime, 5);
  EXPECT_EQ((*entries)[0].attributes.mtime_nsec, 250'000'000u);
  EXPECT_EQ((*entries)[1].attributes.uid, 7u);
  EXPECT_EQ((*entries)[2].attributes.uid, 1u);
}

TEST(TarReader, ReadsBinaryNumbers) {
  std::string block = Header({.path = "f"});
  auto set = [&](size_t at, std::string_view bytes) { block.replace(at, bytes.size(), bytes); };
  set(108, std::string_view("\x80\0\0\0\xee\x6b\x28\0", 8));                           // uid
  set(136, std::string_view("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe", 12));  // mtime
  TarEntry entry = ReadOne(TestTar().Raw(block));
  EXPECT_EQ(entry.attributes.uid, 4'000'000'000u);
  EXPECT_EQ(entry.attributes.mtime, -2);
  set(124, std::string_view("\x80\0\0\0\xff\0\0\0\0\0\0\0", 12));  // A size of 2^63 and more.
  EXPECT_THAT(WhyNot(TestTar().Raw(block)), HasSubstr("out of range"));
}

TEST(TarReader, RefusesWrongChecksumsAndNumbers) {
  std::string tar = TestTar().Add({}).End();
  tar[150] = tar[150] == '1' ? '2' : '1';
  EXPECT_THAT(ReadAll(tar).error().message(), HasSubstr("not a tar archive"));
  std::string second = TestTar().Add({}).bytes() + tar;
  EXPECT_THAT(ReadAll(second).error().message(), HasSubstr("damaged header"));
  std::string block = Header({});
  block.replace(108, 7, "12x4567");
  EXPECT_THAT(WhyNot(TestTar().Raw(block)), HasSubstr("octal"));
}

TEST(TarReader, LinksAndDevicesHaveNoDataWhateverTheirSizeSays) {
  TestTar tar;
  tar.Add({.path = "l", .type = '1', .link = "f", .size = 5000})
      .Add({.path = "s", .type = '2', .link = "f", .size = 5000})
      .Add({.path = "d", .type = '5', .size = 5000});
  EXPECT_EQ(ReadAll(tar)->size(), 3u);
}

TEST(TarReader, OldGnuSparseFilesWithExtensions) {
  std::string block = Header({.path = "holes", .type = 'S', .size = 5 * 512, .magic = "ustar  "});
  auto put = [](std::string& to, size_t at, uint64_t value) {
    char digits[16];
    std::snprintf(digits, sizeof digits, "%011llo", static_cast<unsigned long long>(value));
    to.replace(at, 11, digits);
  };
  for (uint64_t i = 0; i < 4; ++i) {
    put(block, 386 + i * 24, i * 1024);
    put(block, 398 + i * 24, 512);
  }
  block[482] = 1;
  put(block, 483, 10000);
  std::string extension(512, '\0');
  put(extension, 0, 9000);
  put(extension, 12, 512);
  TestTar tar;
  tar.Raw(block).Data(extension).Data(std::string(5 * 512, 'x')).Add({.path = "after"});
  auto entries = ReadAll(tar);
  ASSERT_TRUE(entries.ok()) << entries.error().message();
  EXPECT_EQ((*entries)[0].size, 10000u);
  EXPECT_EQ((*entries)[0].segments.size(), 5u);
  EXPECT_EQ((*entries)[0].segments[4], (DataSegment{9000, 512}));
  EXPECT_EQ((*entries)[1].path, "after");
}

TEST(TarReader, PaxSparseOnePointZero) {
  std::string map = "2\n0\n512\n4096\n5\n";
  map.resize(512);
  TestTar tar;
  tar.Pax(TestTar::Record("GNU.sparse.major", "1") + TestTar::Record("GNU.sparse.minor", "0") +
          TestTar::Record("GNU.sparse.name", "real") +
          TestTar::Record("GNU.sparse.realsize", "9000"))
      .Add({.path = "GNUSparseFile.1/real", .data = map + std::string(512 + 5, 'x')});
  TarEntry entry = ReadOne(tar);
  EXPECT_EQ(entry.path, "real");
  EXPECT_EQ(entry.size, 9000u);
  EXPECT_THAT(entry.segments, ElementsAre(DataSegment{0, 512}, DataSegment{4096, 5}));

  for (std::string bad : {"2\n0\n512\n", "x\n", "99999999\n", "18446744073709551616\n"}) {
    bad.resize(512);
    TestTar wrong;
    wrong
        .Pax(TestTar::Record("GNU.sparse.major", "1") + TestTar::Record("GNU.sparse.realsize", "9"))
        .Add({.data = bad});
    EXPECT_THAT(WhyNot(wrong), HasSubstr("sparse map")) << bad;
  }
}

TEST(TarReader, PaxSparseZeroPointZero) {
  TestTar tar;
  tar.Pax(TestTar::Record("GNU.sparse.size", "100") + TestTar::Record("GNU.sparse.numblocks", "2") +
          TestTar::Record("GNU.sparse.offset", "10") + TestTar::Record("GNU.sparse.numbytes", "3") +
          TestTar::Record("GNU.sparse.offset", "50") + TestTar::Record("GNU.sparse.numbytes", "4"))
      .Add({.data = "abcdefg"});
  EXPECT_THAT(ReadOne(tar).segments, ElementsAre(DataSegment{10, 3}, DataSegment{50, 4}));
}

TEST(TarReader, AttributesInBothSpellings) {
  std::string value("\0\n=binary", 9);
  TestTar tar;
  tar.Pax(TestTar::Record("SCHILY.xattr.security.capability", value) +
          TestTar::Record("LIBARCHIVE.xattr.user.a%20b", "AP8"))
      .Add({});
  EXPECT_THAT(ReadOne(tar).attributes.xattrs,
              testing::UnorderedElementsAre(Xattr{"security.capability", value},
                                            Xattr{"user.a b", std::string("\0\xff", 2)}));
}

TEST(TarReader, RefusesPaxHeadersThatAreNone) {
  for (std::string_view bad : {"5 a=b\n", "x a=b\n", "6 a=b", "7 abcd\n", "999999 a=b\n", "0 a=b\n",
                               "12 size=1x2\n", "13 mtime=x.5\n"})
    EXPECT_THAT(WhyNot(TestTar().Pax(bad).Add({})), HasSubstr("pax")) << bad;
  EXPECT_THAT(WhyNot(TestTar().Pax(std::string(2 << 20, 'x')).Add({})),
              HasSubstr("extended header of"));
  EXPECT_THAT(WhyNot(TestTar().Pax(TestTar::Record("path", "x"))), HasSubstr("truncated"));
}

TEST(TarReader, ATypeThatNobodyKnowsIsRefusedAndAVolumeLabelSkipped) {
  EXPECT_THAT(WhyNot(TestTar().Add({.type = 'M'})), HasSubstr("M"));
  EXPECT_THAT(ReadAll(TestTar().Add({.path = "label", .type = 'V'}))->size(), 0u);
}

TEST(TarReader, AnArchiveOfNothingIsEmptyButNoBytesAreNoArchive) {
  EXPECT_THAT(*ReadAll(TestTar()), IsEmpty());
  EXPECT_THAT(ReadAll("").error().message(), HasSubstr("truncated"));
  EXPECT_THAT(ReadAll("A=b\n").error().message(), HasSubstr("not a tar archive"));
}

TEST(TarReader, AnArchiveCutBetweenEntriesIsTruncated) {
  // libarchive 3.6.2 reports the first two entries and success.
  TestTar tar;
  tar.Add({.path = "one"}).Add({.path = "two"});
  EXPECT_THAT(ReadAll(tar.bytes()).error().message(), HasSubstr("truncated"));
}

TEST(TarReader, ALoneZeroBlockInsideIsAnError) {
  // libarchive 3.6.2 stops there with success.
  std::string tar = TestTar().Add({}).End(1) + TestTar().Add({}).End();
  EXPECT_THAT(ReadAll(tar).error().message(), HasSubstr("after the end marker"));
}

TEST(PaxTime, RoundsTowardsThePast) {
  auto time = [](std::string_view text) {
    auto parsed = ParsePaxTime(text);
    return parsed ? Cat(parsed->seconds, ".", parsed->nanoseconds) : std::string("none");
  };
  EXPECT_EQ(time("12"), "12.0");
  EXPECT_EQ(time("12.5"), "12.500000000");
  EXPECT_EQ(time("12.0000000019"), "12.1");
  EXPECT_EQ(time("-1.5"), "-2.500000000");
  EXPECT_EQ(time("-0.25"), "-1.750000000");
  EXPECT_EQ(time("-1.9999999999"), "-2.0");
  EXPECT_EQ(time("1.x"), "none");
  EXPECT_EQ(time("1e9"), "none");
  EXPECT_EQ(time(""), "none");
}

TEST(AclText, BecomesTheKernelsBytes) {
  auto acl = EncodeAcl("other::---,user::rwx\ngroup::r-x # comment\nuser:1000:r--\nmask::rw-");
  ASSERT_TRUE(acl.has_value());
  EXPECT_EQ(Hex(AsBytes(*acl)),
            "02000000"
            "01000700ffffffff"
            "02000400e8030000"
            "04000500ffffffff"
            "10000600ffffffff"
            "20000000ffffffff");
  EXPECT_EQ(EncodeAcl("user:lisa:r--:1000"), EncodeAcl("u:1000:r--"));
  for (std::string_view bad : {"", "user:lisa:r--", "user::rwz", "what::rwx", "mask:5:rwx",
                               "user:4294967295:rwx", "a:b:c:d:e"})
    EXPECT_FALSE(EncodeAcl(bad).has_value()) << bad;
}

}  // namespace
}  // namespace msb::rootfs
