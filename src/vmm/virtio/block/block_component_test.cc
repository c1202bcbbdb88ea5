// SPDX-License-Identifier: Apache-2.0
// Block devices over real files, with their worker.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/virtio_blk.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <thread>

#include "base/bytes.h"
#include "sys/file.h"
#include "vmm/virtio/block/device.h"
#include "vmm/virtio/test_driver.h"

namespace {
// A host whose storage is full, without one: this program's pwritev() comes before the C library's.
std::atomic<bool> storage_full =
    false;                         // NOLINT(cppcoreguidelines-avoid-non-const-global-variables)
std::atomic<int> write_calls = 0;  // NOLINT(cppcoreguidelines-avoid-non-const-global-variables)
std::atomic<bool> slow_storage =
    false;  // NOLINT(cppcoreguidelines-avoid-non-const-global-variables)
}  // namespace

extern "C" ssize_t pwritev(int fd, const iovec* parts, int count, off_t offset) {
  write_calls++;
  if (slow_storage) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  if (storage_full) {
    errno = ENOSPC;
    return -1;
  }
  return ::syscall(SYS_pwritev, fd, parts, count, offset, 0);
}

namespace msb::vmm {
namespace {

constexpr uint64_t kDiskBytes = 4 * kMiB;
constexpr auto kPatience = std::chrono::seconds(10);

UniqueFd ReadOnly(const UniqueFd& file) {
  auto fd = sys::OpenAt(sys::Cwd(), "/proc/self/fd/" + std::to_string(file.get()), O_RDONLY);
  EXPECT_TRUE(fd.ok());
  return std::move(*fd);
}

class Block : public testing::Test {
 protected:
  Block() : worker_(std::move(*BlockWorker::Start())), file_(std::move(*sys::MemFd("disk"))) {
    EXPECT_TRUE(sys::Truncate(file_, kDiskBytes).ok());
    storage_full = false;
    slow_storage = false;
  }

  void Open(BlockOptions options = {.access = DiskAccess::kWritable}) {
    auto fd = options.access == DiskAccess::kWritable ? std::move(*sys::Duplicate(file_))
                                                      : ReadOnly(file_);
    auto device = BlockDevice::Create(*worker_, std::move(fd), std::move(options));
    ASSERT_TRUE(device.ok()) << device.error().message();
    device_ = std::move(*device);
    transport_.emplace(*device_, arena_.memory(), interrupt_, thread_);
    driver_.emplace(arena_, *transport_);
    ASSERT_TRUE(driver_->Start());
  }

  DriverQueue::Piece Header(uint32_t type, uint64_t sector) {
    virtio_blk_outhdr header{.type = type, .ioprio = 0, .sector = sector};
    return {arena_.Place(AsText(std::as_bytes(std::span(&header, 1)))), sizeof header};
  }

  // Puts a request without waiting for it; the status byte's place.
  GuestAddress Submit(DriverQueue::Piece header, std::vector<DriverQueue::Piece> data) {
    auto status = arena_.Place("\x77");
    data.insert(data.begin(), header);
    data.push_back({status, 1, true});
    EXPECT_TRUE(driver_->queue(0).Add(data));
    driver_->Kick(0);
    return status;
  }

  std::optional<UsedEntry> Wait() {
    auto deadline = Deadline::After(kPatience);
    while (!deadline.Passed()) {
      if (auto used = driver_->queue(0).Take()) return used;
      std::this_thread::yield();
    }
    return std::nullopt;
  }

  // The status of a request, done.
  int Do(DriverQueue::Piece header, std::vector<DriverQueue::Piece> data = {}) {
    auto status = Submit(header, std::move(data));
    if (!Wait()) return -1;
    return arena_.Text(status, 1)[0];
  }

  bool WaitForReset() {
    auto deadline = Deadline::After(kPatience);
    while (!deadline.Passed() && !driver_->NeedsReset()) std::this_thread::yield();
    return driver_->NeedsReset();
  }

  DriverQueue::Piece Range(uint64_t sector, uint32_t count, uint32_t flags = 0) {
    virtio_blk_discard_write_zeroes range{.sector = sector, .num_sectors = count, .flags = flags};
    return {arena_.Place(AsText(std::as_bytes(std::span(&range, 1)))), sizeof range};
  }

  std::string FileText(uint64_t offset, size_t bytes) {
    std::string text(bytes, '\0');
    EXPECT_TRUE(sys::ReadExactlyAt(file_, std::as_writable_bytes(std::span(text)),
                                   static_cast<off_t>(offset))
                    .ok());
    return text;
  }

  std::unique_ptr<BlockWorker> worker_;
  UniqueFd file_;
  GuestArena arena_{64 * kMiB};
  CountingInterrupt interrupt_;
  InlineThread thread_;
  std::unique_ptr<BlockDevice> device_;
  std::optional<MmioTransport> transport_;
  std::optional<TestDriver> driver_;
};

TEST_F(Block, ReadsAndWritesPieces) {
  Open();
  std::string text;
  for (int i = 0; i < 2048; i++) text += static_cast<char>('a' + i % 23);
  auto from = arena_.Place(text);
  EXPECT_EQ(Do(Header(VIRTIO_BLK_T_OUT, 3), {{from, 100}, {from + 100, 1436}, {from + 1536, 512}}),
            0);
  EXPECT_EQ(FileText(3 * 512, 2048), text);
  auto into = arena_.Allocate(2048);
  auto status = Submit(Header(VIRTIO_BLK_T_IN, 3), {{into, 2000, true}, {into + 2000, 48, true}});
  EXPECT_EQ(Wait()->written, 2049U);
  EXPECT_EQ(arena_.Text(status, 1)[0], 0);
  EXPECT_EQ(arena_.Text(into, 2048), text);
  EXPECT_EQ(device_->metrics().reads.load(), 1U);
  EXPECT_EQ(device_->metrics().writes.load(), 1U);
  EXPECT_GE(interrupt_.count(), 1);
}

TEST_F(Block, MovesMuchInSeveralCalls) {
  Open();
  std::string text(kDiskBytes - 512, '\0');
  for (size_t i = 0; i < text.size(); i++) text[i] = static_cast<char>('a' + i % 23);
  auto from = arena_.Place(text);
  auto half = static_cast<uint32_t>(text.size() / 2 - 100);
  write_calls = 0;
  EXPECT_EQ(Do(Header(VIRTIO_BLK_T_OUT, 1),
               {{from, half}, {from + half, static_cast<uint32_t>(text.size()) - half}}),
            0);
  EXPECT_EQ(write_calls, 4);
  EXPECT_TRUE(FileText(512, text.size()) == text);
}

TEST_F(Block, EndsARequestEarlyWhenItIsToStop) {
  Disk disk(std::move(*sys::Duplicate(file_)), {.sectors = kDiskBytes / 512, .writable = true},
            DiskFlush::kThrowAway, 1);
  std::string text(512, 'w');
  Segment segment = std::as_writable_bytes(std::span(text));
  BlockRequest request{.operation = BlockOperation::kWrite, .offset = 0, .data_bytes = 512};
  std::atomic<bool> stop = true;
  write_calls = 0;
  EXPECT_EQ(disk.Write(request, std::span(&segment, 1), 0, stop), DiskOutcome::kIoError);
  EXPECT_EQ(disk.Read(request, std::span(&segment, 1), stop), DiskOutcome::kIoError);
  EXPECT_EQ(write_calls, 0);
  EXPECT_EQ(text, std::string(512, 'w'));
  stop = false;
  EXPECT_EQ(disk.Write(request, std::span(&segment, 1), 0, stop), DiskOutcome::kOk);
}

TEST_F(Block, FindsHeaderAndStatusWhereverTheirBytesLie) {
  Open();
  auto text = std::string(512, 'q');
  virtio_blk_outhdr header{.type = VIRTIO_BLK_T_OUT, .ioprio = 0, .sector = 1};
  auto all = arena_.Place(std::string(AsText(std::as_bytes(std::span(&header, 1)))) + text);
  // Header and data in one piece, cut elsewhere.
  EXPECT_EQ(Do({all, 5}, {{all + 5, 300}, {all + 305, 223}}), 0);
  EXPECT_EQ(FileText(512, 512), text);
  // Data and status in one piece.
  auto into = arena_.Allocate(513);
  auto in = Header(VIRTIO_BLK_T_IN, 1);
  ASSERT_TRUE(driver_->queue(0).Add({in, {into, 513, true}}));
  driver_->Kick(0);
  ASSERT_TRUE(Wait());
  EXPECT_EQ(arena_.Text(into, 513), text + '\0');
}

TEST_F(Block, SaysHowLargeItIs) {
  Open();
  EXPECT_EQ(driver_->Read(0x100), kDiskBytes / 512);
  EXPECT_EQ(driver_->Read(0x104), 0U);
  EXPECT_EQ(driver_->Read(0x10c), 254U);
  EXPECT_EQ(device_->sectors(), kDiskBytes / 512);
}

TEST_F(Block, RefusesSectorsThatAreNotThere) {
  Open();
  uint64_t sectors = kDiskBytes / 512;
  auto at = arena_.Allocate(1024);
  for (uint32_t type : {uint32_t{VIRTIO_BLK_T_IN}, uint32_t{VIRTIO_BLK_T_OUT}}) {
    bool in = type == VIRTIO_BLK_T_IN;
    EXPECT_EQ(Do(Header(type, sectors - 1), {{at, 512, in}}), 0);
    EXPECT_EQ(Do(Header(type, sectors - 1), {{at, 1024, in}}), VIRTIO_BLK_S_IOERR);
    EXPECT_EQ(Do(Header(type, sectors), {{at, 512, in}}), VIRTIO_BLK_S_IOERR);
    EXPECT_EQ(Do(Header(type, ~uint64_t{0}), {{at, 512, in}}), VIRTIO_BLK_S_IOERR);
    EXPECT_EQ(Do(Header(type, uint64_t{1} << 55), {{at, 512, in}}), VIRTIO_BLK_S_IOERR);
    EXPECT_EQ(Do(Header(type, 0), {{at, 511, in}}), VIRTIO_BLK_S_IOERR);
    EXPECT_EQ(Do(Header(type, 0)), VIRTIO_BLK_S_IOERR);
  }
  EXPECT_EQ(sys::Stat(file_)->st_size, static_cast<off_t>(kDiskBytes));
  EXPECT_EQ(device_->metrics().failed.load(), 12U);
}

TEST_F(Block, AnswersWhatItDoesNotKnow) {
  Open();
  EXPECT_EQ(Do(Header(99, 0)), VIRTIO_BLK_S_UNSUPP);
}

TEST_F(Block, GivesItsId) {
  Open({.access = DiskAccess::kWritable, .id = "upper"});
  auto at = arena_.Allocate(20);
  EXPECT_EQ(Do(Header(VIRTIO_BLK_T_GET_ID, 0), {{at, 20, true}}), 0);
  EXPECT_EQ(arena_.Text(at, 20), std::string("upper") + std::string(15, '\0'));
}

TEST_F(Block, FlushesOnlyWhatIsKept) {
  Open({.access = DiskAccess::kWritable, .flush = DiskFlush::kKeep});
  EXPECT_NE(driver_->OfferedFeatures() & (1U << VIRTIO_BLK_F_FLUSH), 0U);
  EXPECT_EQ(Do(Header(VIRTIO_BLK_T_FLUSH, 0)), 0);
  transport_.reset();
  device_.reset();
  Open();
  EXPECT_EQ(driver_->OfferedFeatures() & (1U << VIRTIO_BLK_F_FLUSH), 0U);
  EXPECT_EQ(Do(Header(VIRTIO_BLK_T_FLUSH, 0)), 0);
}

TEST_F(Block, DiscardGivesStorageBack) {
  Open();
  ASSERT_TRUE(sys::WriteAllAt(file_, AsBytes(std::string(kDiskBytes, 'x')), 0).ok());
  auto before = sys::Stat(file_)->st_blocks;
  EXPECT_EQ(Do(Header(VIRTIO_BLK_T_DISCARD, 0), {Range(0, 2048), Range(4096, 2048)}), 0);
  EXPECT_EQ(sys::Stat(file_)->st_blocks, before - 4096);
  EXPECT_EQ(FileText(0, 512), std::string(512, '\0'));
  EXPECT_EQ(FileText(kMiB, 512), std::string(512, 'x'));
  EXPECT_EQ(sys::Stat(file_)->st_size, static_cast<off_t>(kDiskBytes));
}

TEST_F(Block, WritesZeroes) {
  Open();
  ASSERT_TRUE(sys::WriteAllAt(file_, AsBytes(std::string(kDiskBytes, 'x')), 0).ok());
  EXPECT_EQ(Do(Header(VIRTIO_BLK_T_WRITE_ZEROES, 0), {Range(8, 8), Range(24, 8, 1)}), 0);
  EXPECT_EQ(FileText(8 * 512, 4096), std::string(4096, '\0'));
  EXPECT_EQ(FileText(16 * 512, 4096), std::string(4096, 'x'));
  EXPECT_EQ(FileText(24 * 512, 4096), std::string(4096, '\0'));
}

TEST_F(Block, RefusesBadRangesWithoutDoingAny) {
  Open();
  ASSERT_TRUE(sys::WriteAllAt(file_, AsBytes(std::string(kDiskBytes, 'x')), 0).ok());
  uint32_t sectors = kDiskBytes / 512;
  auto discard = [&](DriverQueue::Piece range) {
    return Do(Header(VIRTIO_BLK_T_DISCARD, 0), {Range(0, 8), range});
  };
  EXPECT_EQ(discard(Range(sectors - 1, 2)), VIRTIO_BLK_S_IOERR);
  EXPECT_EQ(discard(Range(~uint64_t{0}, 1)), VIRTIO_BLK_S_IOERR);
  EXPECT_EQ(discard(Range(0, 0xffffffff)), VIRTIO_BLK_S_IOERR);
  EXPECT_EQ(discard(Range(0, 1, 1)), VIRTIO_BLK_S_UNSUPP);
  EXPECT_EQ(discard({arena_.Allocate(16), 15}), VIRTIO_BLK_S_IOERR);
  EXPECT_EQ(Do(Header(VIRTIO_BLK_T_DISCARD, 0)), VIRTIO_BLK_S_IOERR);
  EXPECT_EQ(Do(Header(VIRTIO_BLK_T_DISCARD, 0), {{arena_.Allocate(33 * 16), 33 * 16}}),
            VIRTIO_BLK_S_IOERR);
  EXPECT_EQ(FileText(0, 512), std::string(512, 'x'));
}

TEST_F(Block, DoesNotWriteWhatIsReadOnly) {
  ASSERT_TRUE(sys::WriteAllAt(file_, AsBytes(std::string(512, 'r')), 0).ok());
  Open({});
  EXPECT_NE(driver_->OfferedFeatures() & (1U << VIRTIO_BLK_F_RO), 0U);
  auto at = arena_.Allocate(512);
  EXPECT_EQ(Do(Header(VIRTIO_BLK_T_OUT, 0), {{at, 512}}), VIRTIO_BLK_S_IOERR);
  EXPECT_EQ(Do(Header(VIRTIO_BLK_T_DISCARD, 0), {Range(0, 1)}), VIRTIO_BLK_S_UNSUPP);
  EXPECT_EQ(Do(Header(VIRTIO_BLK_T_WRITE_ZEROES, 0), {Range(0, 1)}), VIRTIO_BLK_S_UNSUPP);
  EXPECT_EQ(Do(Header(VIRTIO_BLK_T_FLUSH, 0)), 0);
  EXPECT_EQ(Do(Header(VIRTIO_BLK_T_IN, 0), {{at, 512, true}}), 0);
  EXPECT_EQ(arena_.Text(at, 512), std::string(512, 'r'));
}

TEST_F(Block, InsistsOnTheOpenMode) {
  auto open = [&](UniqueFd fd, DiskAccess access) {
    auto device = BlockDevice::Create(*worker_, std::move(fd), {.access = access});
    return device.ok() ? Code::kInternal : device.error().code();
  };
  EXPECT_EQ(open(std::move(*sys::Duplicate(file_)), DiskAccess::kReadOnly),
            Code::kFailedPrecondition);
  EXPECT_EQ(open(ReadOnly(file_), DiskAccess::kWritable), Code::kFailedPrecondition);
  EXPECT_EQ(open(std::move(sys::MakePipe()->read), DiskAccess::kReadOnly), Code::kInvalidArgument);
}

TEST_F(Block, LocksAWritableDisk) {
  Open();
  auto other = sys::OpenAt(sys::Cwd(), "/proc/self/fd/" + std::to_string(file_.get()), O_RDWR);
  auto second = BlockDevice::Create(*worker_, std::move(*other), {.access = DiskAccess::kWritable});
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code(), Code::kUnavailable);
}

TEST_F(Block, FailsReadsOfAFileThatWasCut) {
  Open();
  ASSERT_TRUE(sys::Truncate(file_, 768).ok());
  auto at = arena_.Allocate(1024);
  EXPECT_EQ(Do(Header(VIRTIO_BLK_T_IN, 0), {{at, 512, true}}), 0);
  EXPECT_EQ(Do(Header(VIRTIO_BLK_T_IN, 0), {{at, 1024, true}}), VIRTIO_BLK_S_IOERR);
}

TEST_F(Block, HoldsAWriteWhileTheHostIsFull) {
  std::atomic<int> told = 0;
  Open({.access = DiskAccess::kWritable, .storage_full = [&] { told++; }});
  auto at = arena_.Place(std::string(512, 'w'));
  storage_full = true;
  auto first = Submit(Header(VIRTIO_BLK_T_OUT, 0), {{at, 512}});
  auto second = Submit(Header(VIRTIO_BLK_T_OUT, 1), {{at, 512}});
  auto deadline = Deadline::After(kPatience);
  while (device_->metrics().held.load() < 2 && !deadline.Passed()) std::this_thread::yield();
  EXPECT_EQ(told.load(), 1);
  EXPECT_FALSE(driver_->queue(0).Take());
  storage_full = false;
  ASSERT_TRUE(Wait());
  ASSERT_TRUE(Wait());
  EXPECT_EQ(arena_.Text(first, 1)[0], 0);
  EXPECT_EQ(arena_.Text(second, 1)[0], 0);
  EXPECT_EQ(FileText(0, 1024), std::string(1024, 'w'));
  // It is news again.
  storage_full = true;
  Submit(Header(VIRTIO_BLK_T_OUT, 0), {{at, 512}});
  deadline = Deadline::After(kPatience);
  while (told.load() < 2 && !deadline.Passed()) std::this_thread::yield();
  EXPECT_EQ(told.load(), 2);
}

TEST_F(Block, ServesTheOtherDiskWhileOneIsHeld) {
  Open();
  GuestArena arena(4 * kMiB);
  auto root = BlockDevice::Create(*worker_, ReadOnly(file_), {});
  ASSERT_TRUE(root.ok());
  MmioTransport transport((**root), arena.memory(), interrupt_, thread_);
  TestDriver driver(arena, transport);
  ASSERT_TRUE(driver.Start());
  storage_full = true;
  Submit(Header(VIRTIO_BLK_T_OUT, 0), {{arena_.Allocate(512), 512}});
  auto deadline = Deadline::After(kPatience);
  while (device_->metrics().held.load() == 0 && !deadline.Passed()) std::this_thread::yield();
  virtio_blk_outhdr header{.type = VIRTIO_BLK_T_IN, .ioprio = 0, .sector = 0};
  auto at = arena.Place(AsText(std::as_bytes(std::span(&header, 1))));
  ASSERT_TRUE(driver.queue(0).Add({{at, 16}, {arena.Allocate(513), 513, true}}));
  driver.Kick(0);
  std::optional<UsedEntry> used;
  while (!used && !deadline.Passed()) used = driver.queue(0).Take();
  EXPECT_TRUE(used);
}

// The device thread waits in a reset, and with it the agent channel.
TEST_F(Block, ResetOfOneDiskDoesNotWaitForTheQueueOfTheOther) {
  Open();
  GuestArena arena(4 * kMiB);
  auto root = BlockDevice::Create(*worker_, ReadOnly(file_), {});
  ASSERT_TRUE(root.ok());
  MmioTransport transport(**root, arena.memory(), interrupt_, thread_);
  TestDriver driver(arena, transport);
  ASSERT_TRUE(driver.Start());
  auto at = arena_.Allocate(512);
  constexpr int kRequests = 60;
  slow_storage = true;
  write_calls = 0;
  for (int i = 0; i < kRequests; i++)
    ASSERT_TRUE(driver_->queue(0).Add(
        {Header(VIRTIO_BLK_T_OUT, 0), {at, 512}, {arena_.Allocate(1), 1, true}}));
  driver_->Kick(0);
  auto deadline = Deadline::After(kPatience);
  while (write_calls.load() == 0 && !deadline.Passed()) std::this_thread::yield();
  driver.Reset();
  EXPECT_LE(write_calls.load(), 8);
  slow_storage = false;
  for (int i = 0; i < kRequests; i++) ASSERT_TRUE(Wait()) << i;
}

TEST_F(Block, ResetLetsGoOfAHeldWrite) {
  Open();
  storage_full = true;
  Submit(Header(VIRTIO_BLK_T_OUT, 0), {{arena_.Place(std::string(512, 'w')), 512}});
  auto deadline = Deadline::After(kPatience);
  while (device_->metrics().held.load() == 0 && !deadline.Passed()) std::this_thread::yield();
  driver_->Reset();
  storage_full = false;
  ASSERT_TRUE(driver_->Start());
  auto at = arena_.Allocate(512);
  EXPECT_EQ(Do(Header(VIRTIO_BLK_T_IN, 0), {{at, 512, true}}), 0);
  EXPECT_EQ(arena_.Text(at, 512), std::string(512, '\0'));
}

TEST_F(Block, NeedsAResetWithoutRoomForHeaderOrStatus) {
  Open();
  auto at = arena_.Allocate(64);
  for (auto pieces : {std::vector<DriverQueue::Piece>{{at, 15}, {at, 1, true}},
                      std::vector<DriverQueue::Piece>{{at, 16}},
                      std::vector<DriverQueue::Piece>{{at, 64, true}}}) {
    ASSERT_TRUE(driver_->queue(0).Add(pieces));
    driver_->Kick(0);
    EXPECT_TRUE(WaitForReset());
    ASSERT_TRUE(driver_->Start());
  }
  driver_->queue(0).Announce(9999);
  driver_->Kick(0);
  EXPECT_TRUE(WaitForReset());
  EXPECT_EQ(transport_->metrics().needs_reset.load(), 4U);
}

TEST_F(Block, TakesNothingMoreUntilItsReset) {
  Open();
  auto at = arena_.Allocate(512);
  ASSERT_TRUE(driver_->queue(0).Add({{at, 15}, {at, 1, true}}));
  driver_->Kick(0);
  ASSERT_TRUE(WaitForReset());
  Submit(Header(VIRTIO_BLK_T_IN, 0), {{at, 512, true}});
  worker_->Call([] {});  // Its kick came before this.
  worker_->Call([] {});
  EXPECT_EQ(device_->metrics().reads.load(), 0U);
  ASSERT_TRUE(driver_->Start());
  EXPECT_EQ(Do(Header(VIRTIO_BLK_T_IN, 0), {{at, 512, true}}), 0);
}

TEST_F(Block, DrainsAQueueThatIsAlwaysFull) {
  Open();
  auto at = arena_.Allocate(4096);
  auto in = Header(VIRTIO_BLK_T_IN, 0);
  for (int i = 0; i < 85; i++)
    ASSERT_TRUE(driver_->queue(0).Add({in, {at, 4096, true}, {at, 1, true}}));
  driver_->Kick(0);
  for (int i = 0; i < 85; i++) ASSERT_TRUE(Wait()) << i;
}

// What a guest can time as it likes. Under ThreadSanitizer it says whether worker and device thread
// share more than they should.
TEST_F(Block, ResetsRaceWithKicks) {
  Open();
  auto kick = device_->KickFd(0);
  std::atomic<bool> stop = false;
  std::thread kicker([&] {
    uint64_t one = 1;
    while (!stop) (void)sys::WriteSome(*kick, std::as_bytes(std::span(&one, 1)));
  });
  auto at = arena_.Allocate(512);
  auto in = Header(VIRTIO_BLK_T_IN, 0);
  for (int round = 0; round < 200; round++) {
    for (int i = 0; i < 10; i++)
      ASSERT_TRUE(driver_->queue(0).Add({in, {at, 512, true}, {at, 1, true}}));
    driver_->Kick(0);
    if (round % 2 == 0) {
      ASSERT_TRUE(Wait());
    }
    driver_->Reset();
    ASSERT_TRUE(driver_->Start());
  }
  stop = true;
  kicker.join();
  EXPECT_EQ(Do(Header(VIRTIO_BLK_T_IN, 0), {{at, 512, true}}), 0);
}

}  // namespace
}  // namespace msb::vmm
