// SPDX-License-Identifier: Apache-2.0
// What goes into the store comes out, damage is named, garbage is exactly what nothing names.
#include "image/store/store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "image/store/layout.h"
#include "image/store/store_test_util.h"

namespace msb::store {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class StoreTest : public testing::Test {
 protected:
  Store Opened() { return *Store::Open(home_.fd()); }
  void Overwrite(const std::string& path, std::string_view content) {
    auto file = *sys::OpenAt(home_.fd(), "images/" + path, O_WRONLY | O_TRUNC);
    ASSERT_TRUE(sys::WriteAll(file, content).ok());
  }
  TempHome home_;
};

TEST_F(StoreTest, IsEmptyInAHomeWithoutImagesAndMakesNothing) {
  Store store = Opened();
  EXPECT_FALSE((*store.Find(Named("a"))).has_value());
  EXPECT_FALSE((*store.OpenImage(Named("a"))).has_value());
  EXPECT_THAT(store.List()->images, IsEmpty());
  EXPECT_FALSE(*store.Remove(Named("a")));
  EXPECT_THAT(store.CollectGarbage()->items, IsEmpty());
  EXPECT_THAT(*sys::ListDirectory(home_.fd()), IsEmpty());
}

TEST_F(StoreTest, FindsWhatWasCommitted) {
  for (StagingMode mode : {StagingMode::kUnnamed, StagingMode::kNamed}) {
    Store store = Opened();
    ASSERT_TRUE(AddImage(store, "team/app:1", 'a', mode).ok());
    Store other = Opened();
    std::optional<OpenedImage> opened = *other.OpenImage(Named("team/app:1"));
    ASSERT_TRUE(opened.has_value());
    EXPECT_EQ(opened->image.manifest, SomeDigest('a'));
    EXPECT_EQ(opened->image.disk_bytes, 8192U);
    EXPECT_THAT(opened->image.config.cmd, ElementsAre("sh"));
    EXPECT_EQ(::fcntl(opened->disk.get(), F_GETFL) & O_ACCMODE, O_RDONLY);
    EXPECT_FALSE((*other.Find(Named("team/app:2"))).has_value());
    EXPECT_THAT(home_.Files(), SizeIs(4));
  }
}

TEST_F(StoreTest, StagedImageThatIsNotCommittedLeavesNothing) {
  Store store = Opened();
  for (StagingMode mode : {StagingMode::kUnnamed, StagingMode::kNamed}) {
    auto staged = *store.Stage(mode);
    ASSERT_TRUE(WriteSmallDisk(staged.disk()).ok());
  }
  EXPECT_THAT(home_.Files(), IsEmpty());
}

TEST_F(StoreTest, RefusesDocumentsThatItCouldNotReadBack) {
  Store store = Opened();
  auto staged = *store.Stage();
  ImageDocuments documents = SomeDocuments('a');
  documents.config = "{}";
  EXPECT_THAT(std::move(staged).Commit(Named("a"), documents, {}).error().message(),
              HasSubstr("architecture: missing"));
  EXPECT_THAT(home_.Files(), IsEmpty());
}

TEST_F(StoreTest, ListsByNameAndNamesTheBroken) {
  Store store = Opened();
  ASSERT_TRUE(AddImage(store, "b", 'a').ok());
  ASSERT_TRUE(AddImage(store, "a", 'c').ok());
  ASSERT_TRUE(AddImage(store, "c", 'a').ok());
  Overwrite(RefPath(RefName(Named("b"))), "{\"reference\":");
  ImageList list = *store.List();
  ASSERT_THAT(list.images, SizeIs(2));
  EXPECT_EQ(list.images[0].reference, Named("a"));
  ASSERT_THAT(list.broken, SizeIs(1));
  EXPECT_EQ(list.broken[0].name, "docker.io/library/b:latest");
  EXPECT_THAT(list.broken[0].error.message(), HasSubstr("not JSON"));
  EXPECT_TRUE(*store.RemoveBroken(list.broken[0].name));
  EXPECT_THAT(store.List()->broken, IsEmpty());
}

TEST_F(StoreTest, NeverTakesAFileNameFromOutsideRefs) {
  Store store = Opened();
  ASSERT_TRUE(AddImage(store, "a", 'a').ok());
  for (const char* name : {"", ".", "..", "../oci-layout", ".tmp-x"})
    EXPECT_FALSE(store.RemoveBroken(name).ok()) << name;
  EXPECT_FALSE(*store.RemoveBroken("/etc/passwd"));
  EXPECT_FALSE(*store.RemoveBroken("x/../../oci-layout"));
}

TEST_F(StoreTest, NamesDamageAndRemedy) {
  Store store = Opened();
  Image image = *AddImage(store, "a", 'a');
  std::string disk = DiskPath(image.manifest);
  Overwrite(disk, "short");
  EXPECT_THAT(store.OpenRootDisk(image).error().message(), HasSubstr("has 5 bytes, 8192"));
  Overwrite(disk, std::string(8192, '\0'));
  auto no_erofs = store.OpenRootDisk(image);
  EXPECT_THAT(no_erofs.error().message(), HasSubstr("no EROFS"));
  EXPECT_EQ(no_erofs.error().remedy(), "run: msb image import a DIR|TAR");
  UniqueFd images = *sys::OpenAt(home_.fd(), "images", O_RDONLY | O_DIRECTORY);
  ASSERT_TRUE(sys::UnlinkAt(images, disk).ok());
  EXPECT_EQ(store.OpenImage(Named("a")).error().code(), Code::kNotFound);
  ASSERT_TRUE(sys::SymlinkAt("/etc/passwd", images, disk).ok());
  EXPECT_FALSE(store.OpenRootDisk(image).ok());
  ASSERT_TRUE(sys::UnlinkAt(images, BlobPath(image.config_digest)).ok());
  EXPECT_THAT(store.Find(Named("a")).error().message(), HasSubstr("its config document: "));
}

TEST_F(StoreTest, RefusesTheReferenceFileOfAnotherImage) {
  Store store = Opened();
  ASSERT_TRUE(AddImage(store, "a", 'a').ok());
  ASSERT_TRUE(AddImage(store, "b", 'c').ok());
  UniqueFd refs = *sys::OpenAt(home_.fd(), "images/refs", O_RDONLY | O_DIRECTORY);
  ASSERT_TRUE(sys::RenameAt(refs, RefName(Named("b")), refs, RefName(Named("a"))).ok());
  EXPECT_EQ(store.Find(Named("a")).error().code(), Code::kDataLoss);
}

TEST_F(StoreTest, ImportingAgainRepairsADamagedDisk) {
  Store store = Opened();
  Image image = *AddImage(store, "a", 'a');
  Overwrite(DiskPath(image.manifest), "");
  EXPECT_FALSE(store.OpenImage(Named("a")).ok());
  ASSERT_TRUE(AddImage(store, "a", 'a').ok());
  EXPECT_TRUE(store.OpenImage(Named("a")).ok());
}

TEST_F(StoreTest, GarbageIsWhatNoReferenceNames) {
  Store store = Opened();
  ASSERT_TRUE(AddImage(store, "a", 'a').ok());
  ASSERT_TRUE(AddImage(store, "same", 'a').ok());
  ASSERT_TRUE(AddImage(store, "gone", 'c').ok());
  EXPECT_THAT(store.CollectGarbage()->items, IsEmpty());
  ASSERT_TRUE(*store.Remove(Named("gone")));
  ASSERT_TRUE(*store.Remove(Named("same")));
  EXPECT_THAT(store.CollectGarbage(GarbageMode::kOnlyReport)->items, SizeIs(3));
  Garbage garbage = *store.CollectGarbage();
  EXPECT_THAT(garbage.items, SizeIs(3));
  EXPECT_GT(garbage.bytes, 0U);
  EXPECT_THAT(home_.Files(), SizeIs(4));
  EXPECT_TRUE((*store.OpenImage(Named("a"))).has_value());
}

TEST_F(StoreTest, AnOpenDiskOutlivesItsRemoval) {
  Store store = Opened();
  ASSERT_TRUE(AddImage(store, "a", 'a').ok());
  UniqueFd disk = std::move((*store.OpenImage(Named("a")))->disk);
  ASSERT_TRUE(*store.Remove(Named("a")));
  ASSERT_THAT(store.CollectGarbage()->items, SizeIs(3));
  EXPECT_THAT(home_.Files(), IsEmpty());
  std::byte magic[4];
  EXPECT_TRUE(sys::ReadExactlyAt(disk, magic, 1024).ok());
}

TEST_F(StoreTest, GarbageOfLiveWritersStays) {
  Store store = Opened();
  auto staged = *store.Stage(StagingMode::kNamed);
  UniqueFd temp = *sys::OpenAt(home_.fd(), "images/tmp", O_RDONLY | O_DIRECTORY);
  auto dead = sys::OpenAt(temp, "dead", O_WRONLY | O_CREAT, 0600);
  ASSERT_TRUE(dead.ok());
  Garbage garbage = *store.CollectGarbage();
  ASSERT_THAT(garbage.items, SizeIs(1));
  EXPECT_EQ(garbage.items[0].path, "tmp/dead");
  ASSERT_TRUE(WriteSmallDisk(staged.disk()).ok());
  EXPECT_TRUE(std::move(staged).Commit(Named("a"), SomeDocuments('a'), {}).ok());
  EXPECT_TRUE((*store.OpenImage(Named("a"))).has_value());
}

TEST_F(StoreTest, CollectsNothingWhileAReferenceCannotBeRead) {
  Store store = Opened();
  ASSERT_TRUE(AddImage(store, "a", 'a').ok());
  ASSERT_TRUE(AddImage(store, "b", 'c').ok());
  Overwrite(RefPath(RefName(Named("a"))), "");
  auto garbage = store.CollectGarbage();
  EXPECT_EQ(garbage.error().code(), Code::kFailedPrecondition);
  EXPECT_THAT(garbage.error().remedy(), HasSubstr("msb image remove"));
  EXPECT_THAT(home_.Files(), SizeIs(8));
}

TEST_F(StoreTest, RefRecordKeepsItsRange) {
  RefRecord record{.reference = Named("a"), .manifest = SomeDigest('a'), .config = SomeDigest('b')};
  std::string text = WriteRefRecord(record);
  EXPECT_EQ(ParseRefRecord(text)->reference, Named("a"));
  size_t at = text.find("\"stored_at\": 0");
  ASSERT_NE(at, text.npos);
  text.replace(at, 14, "\"stored_at\": -1");
  EXPECT_FALSE(ParseRefRecord(text).ok());
}

}  // namespace
}  // namespace msb::store
