// SPDX-License-Identifier: Apache-2.0
// The console device between a driver in guest memory and real sockets.

#include <gtest/gtest.h>
#include <linux/virtio_console.h>
#include <sys/socket.h>

#include <string>

#include "base/bytes.h"
#include "sys/file.h"
#include "sys/socket.h"
#include "vmm/virtio/console/device.h"
#include "vmm/virtio/test_driver.h"

namespace msb::vmm {
namespace {

enum QueueIndex : size_t { kIn0, kOut0, kControlIn, kControlOut, kIn1, kOut1 };

std::string ReadAvailable(BorrowedFd socket, size_t limit = 1 << 20) {
  std::string text(limit, '\0');
  ssize_t n = ::recv(socket.get(), text.data(), text.size(), MSG_DONTWAIT);
  text.resize(n > 0 ? static_cast<size_t>(n) : 0);
  return text;
}

class Console : public testing::Test {
 protected:
  Console() {
    auto loop = event::Loop::Create();
    loop_ = std::move(*loop);
    auto console = sys::MakeSocketPair();
    auto agent = sys::MakeSocketPair();
    // As much as the host lets anybody have: more than the device puts into one call.
    int largest = 1 << 20;
    EXPECT_EQ(::setsockopt(console->second.get(), SOL_SOCKET, SO_SNDBUF, &largest, sizeof largest),
              0);
    console_host_ = std::move(console->first);
    agent_host_ = std::move(agent->first);
    auto device = ConsoleDevice::Create(
        *loop_, {.console = std::move(console->second),
                 .agent = std::move(agent->second),
                 .channel = [this](bool open) { events_ += open ? "+" : "-"; }});
    device_ = std::move(*device);
    transport_.emplace(*device_, arena_.memory(), interrupt_, thread_);
    driver_.emplace(arena_, *transport_);
  }

  // What is due in the loop, until nothing is.
  void Settle() {
    for (int i = 0; i < 20; i++)
      ASSERT_TRUE(loop_->RunOnce(Deadline::After(Clock::duration::zero())).ok());
  }

  void Control(uint32_t port, uint16_t event, uint16_t value) {
    auto bytes = ControlBytes({port, event, value});
    ASSERT_TRUE(
        driver_->queue(kControlOut).Add({{arena_.Place(AsText(bytes)), kControlHeaderBytes}}));
    driver_->Kick(kControlOut);
    ASSERT_TRUE(driver_->queue(kControlOut).Take());
  }

  // Gives the device room in a receive queue.
  GuestAddress Room(QueueIndex queue, uint32_t bytes) {
    auto at = arena_.Allocate(bytes);
    EXPECT_TRUE(driver_->queue(queue).Add({{at, bytes, true}}));
    rooms_[queue].push_back(at);
    driver_->Kick(queue);
    return at;
  }

  // What the device has written into the rooms, in order.
  std::string Taken(QueueIndex queue) {
    std::string text;
    while (auto used = driver_->queue(queue).Take()) {
      text += arena_.Text(rooms_[queue].front(), used->written);
      rooms_[queue].erase(rooms_[queue].begin());
    }
    return text;
  }

  // "port:event=value[name] ..." of the control messages that came.
  std::string Replies() {
    std::string text;
    auto& queue = driver_->queue(kControlIn);
    while (auto used = queue.Take()) {
      std::string bytes = arena_.Text(rooms_[kControlIn].front(), used->written);
      rooms_[kControlIn].erase(rooms_[kControlIn].begin());
      auto message = ParseControl(AsBytes(bytes));
      EXPECT_TRUE(message);
      text += std::to_string(message->port) + ":" + std::to_string(message->event) + "=" +
              std::to_string(message->value) + bytes.substr(kControlHeaderBytes) + " ";
      Room(kControlIn, 64);
    }
    return text;
  }

  bool Send(QueueIndex queue, std::string_view text) {
    bool added = driver_->queue(queue)
                     .Add({{arena_.Place(text), static_cast<uint32_t>(text.size())}})
                     .has_value();
    driver_->Kick(queue);
    return added;
  }
  size_t Back(QueueIndex queue) {
    size_t count = 0;
    while (driver_->queue(queue).Take()) count++;
    return count;
  }

  // Up to where a Linux guest has opened the agent port.
  void BringUp(std::optional<uint64_t> features = std::nullopt) {
    for (auto& rooms : rooms_) rooms.clear();
    ASSERT_TRUE(driver_->Start(features));
    for (int i = 0; i < 4; i++) Room(kControlIn, 64);
    Control(VIRTIO_CONSOLE_BAD_ID, VIRTIO_CONSOLE_DEVICE_READY, 1);
    EXPECT_EQ(Replies(), "0:1=1 1:1=1 ");
    Control(0, VIRTIO_CONSOLE_PORT_READY, 1);
    EXPECT_EQ(Replies(), "0:4=1 ");
    Control(1, VIRTIO_CONSOLE_PORT_READY, 1);
    EXPECT_EQ(Replies(), "1:7=1org.microsandbox.agent 1:6=1 ");
    Control(1, VIRTIO_CONSOLE_PORT_OPEN, 1);
    EXPECT_EQ(events_, "+");
  }

  UniqueFd console_host_;
  UniqueFd agent_host_;
  std::string events_;
  GuestArena arena_{64 * kMiB};
  CountingInterrupt interrupt_;
  InlineThread thread_;
  std::unique_ptr<event::Loop> loop_;
  std::unique_ptr<ConsoleDevice> device_;
  std::optional<MmioTransport> transport_;
  std::optional<TestDriver> driver_;
  std::vector<GuestAddress> rooms_[6];
};

TEST_F(Console, AnnouncesItsPorts) {
  EXPECT_EQ(driver_->Read(0x104), 2U);  // max_nr_ports
  BringUp();
  EXPECT_FALSE(driver_->NeedsReset());
}

TEST_F(Console, WorksWithoutEventIndex) {
  BringUp(uint64_t{1} << 32 | uint64_t{1} << VIRTIO_CONSOLE_F_MULTIPORT);
  ASSERT_TRUE(Send(kOut1, "hello"));
  EXPECT_EQ(ReadAvailable(agent_host_), "hello");
  int before = interrupt_.count();
  ASSERT_TRUE(Send(kOut0, "again"));
  EXPECT_EQ(interrupt_.count(), before + 1);
}

TEST_F(Console, TellsLateThatAgentBuffersAreThrough) {
  BringUp();
  int before = interrupt_.count();
  ASSERT_TRUE(Send(kOut1, "hello"));
  EXPECT_EQ(ReadAvailable(agent_host_), "hello");
  EXPECT_EQ(interrupt_.count(), before);
  // A driver that does not look is told in the end, once.
  Deadline deadline = Deadline::After(std::chrono::seconds(20));
  while (interrupt_.count() == before && !deadline.Passed())
    ASSERT_TRUE(loop_->RunOnce(Deadline::After(std::chrono::milliseconds(20))).ok());
  EXPECT_EQ(interrupt_.count(), before + 1);
  EXPECT_EQ(Back(kOut1), 1U);
  Settle();
  EXPECT_EQ(interrupt_.count(), before + 1);
}

// Linux waits for the interrupt when its queue is full, whatever came back before it last looked.
TEST_F(Console, TellsADriverWhoseAgentQueueIsFullAtOnce) {
  for (size_t seen = 0; seen < 64; seen += 7) {
    BringUp();
    for (size_t i = 0; i < seen; i++) ASSERT_TRUE(Send(kOut1, "x"));
    EXPECT_EQ(Back(kOut1), seen);
    int before = interrupt_.count();
    auto at = arena_.Place("y");
    for (size_t i = 0; i < 64; i++) ASSERT_TRUE(driver_->queue(kOut1).Add({{at, 1}}));
    EXPECT_FALSE(driver_->queue(kOut1).Add({{at, 1}}));
    driver_->Kick(kOut1);
    EXPECT_GT(interrupt_.count(), before) << seen;
    EXPECT_EQ(Back(kOut1), 64U);
    driver_->Reset();
    Settle();
    ReadAvailable(agent_host_);
    events_.clear();
  }
}

TEST_F(Console, PassesConsoleOutputOnAtOnce) {
  BringUp();
  ASSERT_TRUE(Send(kOut0, "Linux version\n"));
  EXPECT_EQ(ReadAvailable(console_host_), "Linux version\n");
  EXPECT_EQ(Back(kOut0), 1U);
}

TEST_F(Console, DropsAndCountsConsoleOutputThatNobodyReads) {
  BringUp();
  std::string block(4096, 'x');
  constexpr int kBlocks = 1000;
  for (int i = 0; i < kBlocks; i++) {
    ASSERT_TRUE(Send(kOut0, block));
    ASSERT_EQ(Back(kOut0), 1U) << i;  // The guest spins until it has it back.
  }
  const auto& metrics = device_->console_metrics();
  EXPECT_GT(metrics.dropped_bytes.load(), 0U);
  EXPECT_EQ(metrics.dropped_bytes.load() + metrics.from_guest_bytes.load(), kBlocks * block.size());
  EXPECT_EQ(ReadAvailable(console_host_, 1 << 22).size(), metrics.from_guest_bytes.load());
  ASSERT_TRUE(Send(kOut0, "later"));
  EXPECT_EQ(ReadAvailable(console_host_), "later");
}

TEST_F(Console, TakesConsoleOutputWhenNobodyIsThere) {
  BringUp();
  console_host_.Reset();
  Settle();
  for (int i = 0; i < 100; i++) {
    ASSERT_TRUE(Send(kOut0, "into the void"));
    ASSERT_EQ(Back(kOut0), 1U);
  }
  EXPECT_FALSE(driver_->NeedsReset());
}

TEST_F(Console, TypesIntoTheConsole) {
  BringUp();
  Room(kIn0, 16);
  ASSERT_TRUE(sys::WriteAll(console_host_, "ls\n").ok());
  Settle();
  EXPECT_EQ(Taken(kIn0), "ls\n");
}

TEST_F(Console, LosesNothingOfTheAgentWhenTheSocketIsFull) {
  BringUp();
  std::string sent;
  std::string got;
  uint32_t serial = 0;
  size_t held = 0;
  for (int round = 0; round < 200; round++) {
    std::string frame(1 + serial * 7919 % 32768, static_cast<char>('a' + serial % 26));
    serial++;
    if (Send(kOut1, frame)) sent += frame;
    held = std::max(held, 64 - driver_->queue(kOut1).free_descriptors());
    if (round % 50 == 49) {
      got += ReadAvailable(agent_host_, 100000);
      Settle();
      Back(kOut1);
    }
  }
  EXPECT_GT(held, 1U);  // It was full.
  while (got.size() < sent.size()) {
    auto more = ReadAvailable(agent_host_);
    if (more.empty()) break;
    got += more;
    Settle();
  }
  EXPECT_EQ(got.size(), sent.size());
  EXPECT_TRUE(got == sent);
  Back(kOut1);
  EXPECT_EQ(driver_->queue(kOut1).free_descriptors(), 64U);
  EXPECT_EQ(device_->agent_metrics().from_guest_bytes.load(), sent.size());
}

TEST_F(Console, SendsABufferOfManyPieces) {
  BringUp();
  std::vector<DriverQueue::Piece> pieces;
  std::string expected;
  for (int i = 0; i < 64; i++) {
    std::string part(1 + static_cast<size_t>(i), static_cast<char>('0' + i));
    expected += part;
    pieces.push_back({arena_.Place(part), static_cast<uint32_t>(part.size())});
  }
  ASSERT_TRUE(driver_->queue(kOut1).Add(pieces));
  driver_->Kick(kOut1);
  EXPECT_EQ(ReadAvailable(agent_host_), expected);
  EXPECT_EQ(Back(kOut1), 1U);
}

TEST_F(Console, SendsALargeBufferInAsManyPartsAsTheSocketTakes) {
  BringUp();
  std::string text;
  for (int i = 0; i < 2'000'000; i++) text += static_cast<char>('a' + i % 26);
  ASSERT_TRUE(Send(kOut1, text));
  std::string got = ReadAvailable(agent_host_);
  EXPECT_LT(got.size(), text.size() / 2);
  for (int i = 0; i < 1000 && got.size() < text.size(); i++) {
    Settle();
    got += ReadAvailable(agent_host_);
  }
  EXPECT_TRUE(got == text);
  EXPECT_EQ(Back(kOut1), 1U);
}

TEST_F(Console, FillsBuffersOfTheGuestWithWhatTheHostSends) {
  BringUp();
  for (int i = 0; i < 40; i++) Room(kIn1, 100);
  std::string text;
  for (int i = 0; i < 3950; i++) text += static_cast<char>('a' + i % 26);
  ASSERT_TRUE(sys::WriteAll(agent_host_, text).ok());
  Settle();
  EXPECT_EQ(Taken(kIn1), text);
  EXPECT_EQ(device_->agent_metrics().to_guest_bytes.load(), text.size());
}

TEST_F(Console, WaitsForBuffersOfTheGuestWithoutSpinning) {
  BringUp();
  ASSERT_TRUE(sys::WriteAll(agent_host_, "0123456789").ok());
  Settle();
  // Nothing is ready for the loop while the guest gives no room.
  auto start = Clock::now();
  ASSERT_TRUE(loop_->RunOnce(Deadline::After(std::chrono::milliseconds(30))).ok());
  EXPECT_GE(Clock::now() - start, std::chrono::milliseconds(29));
  Room(kIn1, 4);
  EXPECT_EQ(Taken(kIn1), "0123");
  Room(kIn1, 4);
  Room(kIn1, 4);
  Settle();
  EXPECT_EQ(Taken(kIn1), "456789");
}

TEST_F(Console, TakesNothingInUntilTheGuestHasOpenedThePort) {
  BringUp();
  Control(1, VIRTIO_CONSOLE_PORT_OPEN, 0);
  EXPECT_EQ(events_, "+-");
  Room(kIn1, 64);
  ASSERT_TRUE(sys::WriteAll(agent_host_, "early").ok());
  Settle();
  EXPECT_EQ(Taken(kIn1), "");
  Control(1, VIRTIO_CONSOLE_PORT_OPEN, 1);
  Control(1, VIRTIO_CONSOLE_PORT_OPEN, 1);
  Settle();
  EXPECT_EQ(Taken(kIn1), "early");
  EXPECT_EQ(events_, "+-+");
}

TEST_F(Console, ANewHostWaitsUntilTheGuestHasReopenedThePort) {
  BringUp();
  Room(kIn1, 64);
  agent_host_.Reset();
  Settle();
  EXPECT_EQ(Replies(), "1:6=0 ");
  ASSERT_TRUE(Send(kOut1, "nobody reads this"));
  EXPECT_EQ(Back(kOut1), 1U);

  auto pair = sys::MakeSocketPair();
  ASSERT_TRUE(device_->AttachAgent(std::move(pair->second)).ok());
  EXPECT_EQ(Replies(), "1:6=1 ");
  ASSERT_TRUE(sys::WriteAll(pair->first, "new").ok());
  ASSERT_TRUE(Send(kOut1, "rest of the old"));
  Settle();
  EXPECT_EQ(Taken(kIn1), "");
  // Announced, with a kick that comes after that of the close.
  ASSERT_TRUE(driver_->queue(kOut1).Add({{arena_.Place("last of the old"), 15}}));
  Control(1, VIRTIO_CONSOLE_PORT_OPEN, 0);
  driver_->Kick(kOut1);
  Settle();
  EXPECT_EQ(Taken(kIn1), "");
  EXPECT_EQ(Back(kOut1), 2U);
  Control(1, VIRTIO_CONSOLE_PORT_OPEN, 1);
  Settle();
  EXPECT_EQ(Taken(kIn1), "new");
  ASSERT_TRUE(Send(kOut1, "new too"));
  EXPECT_EQ(ReadAvailable(pair->first), "new too");
}

TEST_F(Console, ARestoredGuestMustReopenThePort) {
  BringUp();
  Room(kIn1, 64);
  auto saved = ParseTransport(SerializeTransport(transport_->Save()));
  ASSERT_TRUE(saved.ok());
  transport_.reset();
  auto console = sys::MakeSocketPair();
  auto agent = sys::MakeSocketPair();
  agent_host_ = std::move(agent->first);
  device_ = *ConsoleDevice::Create(
      *loop_, {.console = std::move(console->second), .agent = std::move(agent->second)});
  transport_.emplace(*device_, arena_.memory(), interrupt_, thread_);
  ASSERT_TRUE(transport_->Restore(*saved).ok());
  driver_->Follow(*transport_);
  EXPECT_EQ(Replies(), "1:6=0 1:6=1 ");
  ASSERT_TRUE(sys::WriteAll(agent_host_, "to the fork").ok());
  ASSERT_TRUE(Send(kOut1, "half a frame"));
  Settle();
  EXPECT_EQ(Taken(kIn1), "");
  Control(1, VIRTIO_CONSOLE_PORT_OPEN, 0);
  Control(1, VIRTIO_CONSOLE_PORT_OPEN, 1);
  Settle();
  EXPECT_EQ(Taken(kIn1), "to the fork");
  ASSERT_TRUE(Send(kOut1, "hello"));
  EXPECT_EQ(ReadAvailable(agent_host_), "hello");
}

TEST_F(Console, TellsOfAHangUpAndANewHostEvenWhenTheGuestWasSlow) {
  BringUp();
  // The control queue has no room: take what is there by raising and dropping replies.
  auto& queue = driver_->queue(kControlIn);
  while (queue.free_descriptors() == 0) ASSERT_TRUE(queue.Take());
  for (int i = 0; i < 3; i++) {
    auto pair = sys::MakeSocketPair();
    ASSERT_TRUE(device_->AttachAgent(std::move(pair->second)).ok());
    agent_host_ = std::move(pair->first);
  }
  std::string all = Replies();
  // However many there were: it ends with a close and an open.
  ASSERT_GE(all.size(), 12U);
  EXPECT_EQ(all.substr(all.size() - 12), "1:6=0 1:6=1 ");
}

TEST_F(Console, DoesNotSpinOnAHangUpWithBytesThatTheGuestHasNoRoomFor) {
  BringUp();
  ASSERT_TRUE(sys::WriteAll(agent_host_, "unread").ok());
  Settle();
  agent_host_.Reset();
  Settle();
  EXPECT_EQ(Replies(), "1:6=0 ");
  auto start = Clock::now();
  ASSERT_TRUE(loop_->RunOnce(Deadline::After(std::chrono::milliseconds(20))).ok());
  EXPECT_GE(Clock::now() - start, std::chrono::milliseconds(19));
}

TEST_F(Console, DoesNotAnnounceAHostThatHasGoneAgain) {
  ASSERT_TRUE(driver_->Start());
  // No room for replies: they are due together.
  Control(1, VIRTIO_CONSOLE_PORT_READY, 1);
  agent_host_.Reset();
  Room(kIn1, 8);
  Control(1, VIRTIO_CONSOLE_PORT_OPEN, 1);
  Settle();
  for (int i = 0; i < 4; i++) Room(kControlIn, 64);
  EXPECT_EQ(Replies(), "1:7=1org.microsandbox.agent ");
}

TEST_F(Console, DropsAHalfSentFrameWithItsConnection) {
  BringUp();
  std::string block(32768, 'x');
  while (Back(kOut1) == 0 && Send(kOut1, block)) Settle();
  while (Send(kOut1, block) && driver_->queue(kOut1).free_descriptors() > 0) {
  }
  agent_host_.Reset();
  Settle();
  Back(kOut1);
  EXPECT_EQ(driver_->queue(kOut1).free_descriptors(), 64U);
  auto pair = sys::MakeSocketPair();
  ASSERT_TRUE(device_->AttachAgent(std::move(pair->second)).ok());
  Control(1, VIRTIO_CONSOLE_PORT_OPEN, 0);
  Control(1, VIRTIO_CONSOLE_PORT_OPEN, 1);
  ASSERT_TRUE(Send(kOut1, "fresh"));
  EXPECT_EQ(ReadAvailable(pair->first), "fresh");
}

TEST_F(Console, StartsAgainAfterAReset) {
  BringUp();
  ASSERT_TRUE(sys::WriteAll(agent_host_, "lost and found").ok());
  driver_->Reset();
  EXPECT_EQ(events_, "+-") << "a kernel that halts closes nothing before";
  driver_->Reset();
  EXPECT_EQ(events_, "+-");
  Settle();
  events_.clear();
  BringUp();
  Room(kIn1, 64);
  Settle();
  EXPECT_EQ(Taken(kIn1), "lost and found");
}

TEST_F(Console, BoundsWhatAFloodOfControlMessagesCosts) {
  BringUp();
  for (int i = 0; i < 2000; i++) {
    Control(VIRTIO_CONSOLE_BAD_ID, VIRTIO_CONSOLE_DEVICE_READY, 1);
    Control(static_cast<uint32_t>(i % 5), static_cast<uint16_t>(i % 12), 1);
  }
  Settle();
  // At most one of each kind and port is due, besides those that found room.
  size_t count = 0;
  for (std::string more = Replies(); !more.empty(); more = Replies()) count++;
  EXPECT_LT(count, 8U);
  EXPECT_FALSE(driver_->NeedsReset());
}

TEST_F(Console, IgnoresControlMessagesThatAreTooShort) {
  BringUp();
  ASSERT_TRUE(Send(kControlOut, "1234567"));
  EXPECT_EQ(Back(kControlOut), 1U);
  EXPECT_FALSE(driver_->NeedsReset());
}

TEST_F(Console, NeedsAResetWhenThereIsNoRoomForAControlMessage) {
  ASSERT_TRUE(driver_->Start());
  Room(kControlIn, 7);
  Control(0, VIRTIO_CONSOLE_DEVICE_READY, 1);
  EXPECT_TRUE(driver_->NeedsReset());
}

TEST_F(Console, NeedsAResetAfterABadChainInAnyQueue) {
  for (size_t queue = 0; queue < 6; queue++) {
    driver_->Reset();
    events_.clear();
    BringUp();
    driver_->queue(queue).Announce(0xffff);
    transport_->OnQueueKick(queue);
    ASSERT_TRUE(sys::WriteAll(console_host_, "x").ok());
    ASSERT_TRUE(sys::WriteAll(agent_host_, "x").ok());
    // Replies to use up the buffers that stand before the bad one.
    auto ready = ControlBytes({0, VIRTIO_CONSOLE_PORT_READY, 1});
    for (int i = 0; i < 5; i++) Send(kControlOut, AsText(ready));
    Settle();
    EXPECT_TRUE(driver_->NeedsReset()) << queue;
    auto start = Clock::now();
    ASSERT_TRUE(loop_->RunOnce(Deadline::After(std::chrono::milliseconds(20))).ok());
    EXPECT_GE(Clock::now() - start, std::chrono::milliseconds(19)) << queue;
  }
}

TEST_F(Console, TakesNothingMoreUntilItsReset) {
  BringUp();
  Room(kIn1, 64);
  driver_->queue(kOut0).Announce(9999);
  driver_->Kick(kOut0);
  ASSERT_TRUE(driver_->NeedsReset());
  ASSERT_TRUE(sys::WriteAll(agent_host_, AsBytes("late")).ok());
  Settle();
  EXPECT_EQ(Back(kIn1), 0U);
  driver_->Reset();
  events_.clear();
  BringUp();
  Room(kIn1, 64);
  Settle();
  EXPECT_EQ(Taken(kIn1), "late");
}

TEST_F(Console, GivesBuffersOfTheWrongDirectionBack) {
  BringUp();
  auto at = arena_.Allocate(64);
  ASSERT_TRUE(driver_->queue(kOut1).Add({{at, 64, true}}));
  driver_->Kick(kOut1);
  EXPECT_EQ(Back(kOut1), 1U);
  ASSERT_TRUE(driver_->queue(kIn1).Add({{at, 64}}));
  driver_->Kick(kIn1);
  Room(kIn1, 8);
  rooms_[kIn1].insert(rooms_[kIn1].begin(), at);
  ASSERT_TRUE(sys::WriteAll(agent_host_, "x").ok());
  Settle();
  EXPECT_EQ(Taken(kIn1), "x");
}

// Whatever the socket would take: a reader who keeps up would let one sendmsg() go on for as long
// as there is something to send, while the whole device thread waits.
TEST_F(Console, NoMoreThanABoundedPartOfAHugeBufferGoesIntoOneCall) {
  BringUp();
  constexpr uint32_t kBytes = 1 * kMiB;
  ASSERT_TRUE(driver_->queue(kOut0).Add({{arena_.Allocate(kBytes), kBytes}}));
  driver_->Kick(kOut0);
  EXPECT_TRUE(driver_->queue(kOut0).Take());
  auto& metrics = device_->console_metrics();
  EXPECT_EQ(metrics.from_guest_bytes.load(), 256U << 10);
  EXPECT_EQ(metrics.dropped_bytes.load(), kBytes - (256U << 10));
}

TEST_F(Console, AChannelBufferOfManyMebibytesArrivesWhole) {
  BringUp();
  std::string sent(5 * kMiB + 3, '\0');
  for (size_t i = 0; i < sent.size(); i++) sent[i] = static_cast<char>(i * 7 + i / 4096);
  ASSERT_TRUE(Send(kOut1, sent));
  std::string got;
  while (got.size() < sent.size()) {
    std::string some = ReadAvailable(agent_host_);
    got += some;
    Settle();
    ASSERT_FALSE(some.empty()) << got.size();
  }
  EXPECT_TRUE(got == sent);
  EXPECT_EQ(Back(kOut1), 1U);
}

}  // namespace
}  // namespace msb::vmm
