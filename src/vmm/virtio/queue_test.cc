// SPDX-License-Identifier: Apache-2.0

#include "vmm/virtio/queue.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <deque>
#include <limits>

#include "base/bytes.h"
#include "vmm/virtio/test_driver.h"

namespace msb::vmm {
namespace {

constexpr uint64_t kMemory = 16 * kMiB;

// Driver and device of one queue.
struct Pair {
  explicit Pair(uint16_t size, EventIndex event_index = EventIndex::kOff,
                GuestArena* given = nullptr)
      : own(given == nullptr ? kMemory : kPageBytes),
        arena(given == nullptr ? own : *given),
        config(arena.PlaceQueue(size)),
        driver(arena.memory(), config, event_index),
        device([&] {
          auto queue = Queue::Create(arena.memory(), config, event_index);
          EXPECT_TRUE(queue.ok());
          return std::move(*queue);
        }()) {}

  GuestArena own;
  GuestArena& arena;
  QueueConfig config;
  DriverQueue driver;
  Queue device;
};

TEST(Queue, GivesWhatTheDriverPut) {
  Pair pair(8);
  auto hello = pair.arena.Place("hello ");
  auto world = pair.arena.Place("world");
  auto room = pair.arena.Allocate(100);
  EXPECT_FALSE(pair.device.Pop());
  auto head = pair.driver.Add({{hello, 6}, {world, 5}, {room, 100, true}});
  auto chain = pair.device.Pop();
  ASSERT_TRUE(chain);
  EXPECT_EQ(chain->head, *head);
  EXPECT_EQ(chain->readable.size(), 2U);
  EXPECT_EQ(chain->writable.size(), 1U);
  EXPECT_EQ(chain->readable_bytes, 11U);
  EXPECT_EQ(chain->writable_bytes, 100U);
  std::array<std::byte, 16> bytes;
  EXPECT_EQ(AsText(std::span(bytes).first(CopyFrom(chain->readable, 3, bytes))), "lo world");
  EXPECT_EQ(CopyTo(chain->writable, 0, AsBytes("answer")), 6U);
  pair.device.Push(chain->head, 6);
  auto used = pair.driver.Take();
  ASSERT_TRUE(used);
  EXPECT_EQ(used->head, *head);
  EXPECT_EQ(used->written, 6U);
  EXPECT_EQ(pair.arena.Text(room, 6), "answer");
  EXPECT_FALSE(pair.device.Pop());
  EXPECT_FALSE(pair.device.broken());
}

TEST(Queue, TakesAChainAsLongAsItself) {
  Pair pair(4);
  auto at = pair.arena.Allocate(64);
  ASSERT_TRUE(pair.driver.Add({{at, 1}, {at, 2}, {at, 3, true}, {at, 4, true}}));
  auto chain = pair.device.Pop();
  ASSERT_TRUE(chain);
  EXPECT_EQ(chain->readable_bytes, 3U);
  EXPECT_EQ(chain->writable_bytes, 7U);
}

TEST(Queue, GivesAgainWhatWasUndone) {
  Pair pair(8);
  auto at = pair.arena.Place("0123456789");
  for (uint64_t i = 0; i < 3; i++) ASSERT_TRUE(pair.driver.Add({{at + i, 1}}));
  auto first = pair.device.Pop();
  auto second = pair.device.PopMore();
  auto third = pair.device.PopMore();
  ASSERT_TRUE(first && second && third);
  // Earlier chains stay good while more are popped.
  EXPECT_EQ(AsText(first->readable[0]), "0");
  EXPECT_EQ(AsText(third->readable[0]), "2");
  pair.device.Undo(2);
  pair.device.Push(first->head, 0);
  auto again = pair.device.Pop();
  ASSERT_TRUE(again);
  EXPECT_EQ(again->head, second->head);
  EXPECT_EQ(AsText(again->readable[0]), "1");
}

TEST(Queue, PopMoreStopsWhenPiecesDoNotFit) {
  Pair pair(4);
  auto at = pair.arena.Allocate(64);
  // One descriptor announced often: more pieces than the table has, which no honest driver makes.
  pair.driver.SetDescriptor(0,
                            {.address = at.value, .bytes = 1, .flags = kDescriptorNext, .next = 1});
  pair.driver.SetDescriptor(1, {.address = at.value, .bytes = 1});
  for (int i = 0; i < 4; i++) pair.driver.Announce(0);
  ASSERT_TRUE(pair.device.Pop());
  ASSERT_TRUE(pair.device.PopMore());
  EXPECT_FALSE(pair.device.PopMore());
  EXPECT_FALSE(pair.device.broken());
  EXPECT_TRUE(pair.device.Pop());
}

TEST(Queue, CountsOnPastSixteenBits) {
  Pair pair(2, EventIndex::kOn);
  auto at = pair.arena.Allocate(8);
  for (int i = 0; i < 70000; i++) {
    ASSERT_TRUE(pair.driver.Add({{at, 8}}));
    auto chain = pair.device.Pop();
    ASSERT_TRUE(chain) << i;
    pair.device.Push(chain->head, 0);
    ASSERT_TRUE(pair.driver.Take());
  }
}

// What a queue must refuse, each as the first thing that its driver does.
struct Abuse {
  const char* name;
  void (*commit)(Pair& pair, GuestAddress at);
};

const Abuse kAbuses[] = {
    {"HeadBeyondTheTable", [](Pair& p, GuestAddress) { p.driver.Announce(8); }},
    {"HeadFarBeyondTheTable", [](Pair& p, GuestAddress) { p.driver.Announce(0xffff); }},
    {"NextBeyondTheTable",
     [](Pair& p, GuestAddress at) {
       p.driver.SetDescriptor(0, {at.value, 1, kDescriptorNext, 8});
       p.driver.Announce(0);
     }},
    {"DescriptorThatIsItsOwnNext",
     [](Pair& p, GuestAddress at) {
       p.driver.SetDescriptor(0, {at.value, 1, kDescriptorNext, 0});
       p.driver.Announce(0);
     }},
    {"LoopOfAll",
     [](Pair& p, GuestAddress at) {
       for (uint16_t i = 0; i < 8; i++)
         p.driver.SetDescriptor(i,
                                {at.value, 1, kDescriptorNext, static_cast<uint16_t>((i + 1) % 8)});
       p.driver.Announce(0);
     }},
    {"MoreAnnouncedThanThereAre",
     [](Pair& p, GuestAddress at) {
       p.driver.SetDescriptor(0, {at.value, 1, 0, 0});
       p.driver.SetIndex(9);
     }},
    {"IndexThatWentBack",
     [](Pair& p, GuestAddress at) {
       p.driver.SetDescriptor(0, {at.value, 1, 0, 0});
       p.driver.SetIndex(0xffff);
     }},
    {"EmptyPiece",
     [](Pair& p, GuestAddress at) {
       p.driver.SetDescriptor(0, {at.value, 0, 0, 0});
       p.driver.Announce(0);
     }},
    {"PieceOutsideMemory",
     [](Pair& p, GuestAddress) {
       p.driver.SetDescriptor(0, {kMemory, 1, 0, 0});
       p.driver.Announce(0);
     }},
    {"PieceThatLeavesMemory",
     [](Pair& p, GuestAddress) {
       p.driver.SetDescriptor(0, {kMemory - 1, 2, 0, 0});
       p.driver.Announce(0);
     }},
    {"PieceThatWraps",
     [](Pair& p, GuestAddress) {
       p.driver.SetDescriptor(0, {std::numeric_limits<uint64_t>::max(), 0xffffffff, 0, 0});
       p.driver.Announce(0);
     }},
    {"ReadableAfterWritable",
     [](Pair& p, GuestAddress at) {
       p.driver.SetDescriptor(0, {at.value, 1, kDescriptorNext | kDescriptorWrite, 1});
       p.driver.SetDescriptor(1, {at.value, 1, 0, 0});
       p.driver.Announce(0);
     }},
    {"IndirectTable",
     [](Pair& p, GuestAddress at) {
       p.driver.SetDescriptor(0, {at.value, 16, kDescriptorIndirect, 0});
       p.driver.Announce(0);
     }},
};

class QueueAbuse : public testing::TestWithParam<Abuse> {};

TEST_P(QueueAbuse, BreaksTheQueue) {
  for (EventIndex event_index : {EventIndex::kOff, EventIndex::kOn}) {
    Pair pair(8, event_index);
    GetParam().commit(pair, pair.arena.Allocate(64));
    EXPECT_FALSE(pair.device.Pop());
    EXPECT_TRUE(pair.device.broken());
    EXPECT_FALSE(pair.device.Pop());
    EXPECT_FALSE(pair.device.PopMore());
  }
}
INSTANTIATE_TEST_SUITE_P(All, QueueAbuse, testing::ValuesIn(kAbuses),
                         [](const auto& abuse) { return std::string(abuse.param.name); });

TEST(Queue, RefusesAChainOfMoreThanFourGiB) {
  GuestArena arena(3 * kGiB);
  Pair pair(8, EventIndex::kOff, &arena);
  auto at = arena.Allocate(64);
  uint32_t large = 2U << 30;
  ASSERT_TRUE(pair.driver.Add({{at, large - 1}, {at, large}}));
  EXPECT_TRUE(pair.device.Pop());
  ASSERT_TRUE(pair.driver.Add({{at, large}, {at, large}}));
  EXPECT_FALSE(pair.device.Pop());
  EXPECT_TRUE(pair.device.broken());
}

TEST(Queue, RefusesAreasThatCannotBe) {
  GuestArena arena(kMiB);
  const QueueConfig good = arena.PlaceQueue(16);
  auto fails = [&](auto change) {
    QueueConfig config = good;
    change(config);
    return !Queue::Create(arena.memory(), config, EventIndex::kOn).ok();
  };
  EXPECT_FALSE(fails([](QueueConfig&) {}));
  for (unsigned size : {0U, 3U, 15U, 65535U})
    EXPECT_TRUE(fails([&](auto& c) { c.size = static_cast<uint16_t>(size); }));
  EXPECT_TRUE(fails([](auto& c) { c.descriptors.value += 8; }));
  EXPECT_TRUE(fails([](auto& c) { c.available.value += 1; }));
  EXPECT_TRUE(fails([](auto& c) { c.used.value += 2; }));
  EXPECT_TRUE(fails([](auto& c) { c.descriptors.value = kMiB; }));
  // To the last byte, which is the event index.
  EXPECT_FALSE(fails([](auto& c) { c.available.value = kMiB - AvailableBytes(16); }));
  EXPECT_TRUE(fails([](auto& c) { c.available.value = kMiB - AvailableBytes(16) + 2; }));
  EXPECT_TRUE(fails([](auto& c) { c.used.value = ~uint64_t{3}; }));
}

TEST(Queue, SurvivesRingsThatLieOverEachOther) {
  GuestArena arena(kMiB);
  auto at = arena.Allocate(1024);
  QueueConfig config{.size = 8, .descriptors = at, .available = at, .used = at};
  auto queue = Queue::Create(arena.memory(), config, EventIndex::kOn);
  ASSERT_TRUE(queue.ok());
  for (uint16_t i = 0; i < 100; i++) {
    ASSERT_TRUE(arena.memory().WriteObject(at + 2, i).ok());
    if (auto chain = queue->Pop()) queue->Push(chain->head, 1);
    (void)queue->InterruptDue();
  }
}

TEST(Queue, GoesOnFromItsSavedState) {
  Pair pair(4, EventIndex::kOn);
  auto at = pair.arena.Place("abc");
  ASSERT_TRUE(pair.driver.Add({{at, 1}}));
  pair.device.Push(pair.device.Pop()->head, 0);
  (void)pair.device.InterruptDue();
  ASSERT_TRUE(pair.driver.Add({{at + 1, 1}}));
  auto restored =
      Queue::Create(pair.arena.memory(), pair.config, EventIndex::kOn, pair.device.Save());
  ASSERT_TRUE(restored.ok());
  EXPECT_EQ(restored->Save(), pair.device.Save());
  auto chain = restored->Pop();
  ASSERT_TRUE(chain);
  EXPECT_EQ(AsText(chain->readable[0]), "b");
  restored->Push(chain->head, 0);
  EXPECT_TRUE(pair.driver.Take());
  EXPECT_TRUE(pair.driver.Take());
  EXPECT_FALSE(pair.driver.Take());
}

TEST(Queue, InterruptsAsTheFlagSaysWithoutEventIndex) {
  Pair pair(4);
  auto at = pair.arena.Allocate(8);
  EXPECT_FALSE(pair.device.InterruptDue());
  ASSERT_TRUE(pair.driver.Add({{at, 1}}));
  pair.device.Push(pair.device.Pop()->head, 0);
  EXPECT_TRUE(pair.device.InterruptDue());
  EXPECT_FALSE(pair.device.InterruptDue());
  ASSERT_TRUE(pair.arena.memory().WriteObject(pair.config.available, kNoInterrupt).ok());
  ASSERT_TRUE(pair.driver.Add({{at, 1}}));
  pair.device.Push(pair.device.Pop()->head, 0);
  EXPECT_FALSE(pair.device.InterruptDue());
}

// Any order of adding, popping, undoing and pushing, against two lists.
TEST(Queue, AgreesWithANaiveModel) {
  GuestArena arena(kMemory);
  bool agrees = rc::check([&] {
    auto event_index = *rc::gen::element(EventIndex::kOff, EventIndex::kOn);
    auto size = *rc::gen::element<uint16_t>(1, 2, 4, 16);
    GuestArena own(kMiB);
    Pair pair(size, event_index, &own);
    auto at = own.Allocate(64);
    std::deque<std::pair<uint16_t, uint32_t>> announced;  // Head, bytes.
    std::deque<uint16_t> popped;
    std::deque<uint16_t> pushed;
    uint32_t serial = 1;
    auto steps = *rc::gen::container<std::vector<uint8_t>>(rc::gen::arbitrary<uint8_t>());
    for (uint8_t step : steps) {
      switch (step % 5) {
        case 0: {
          std::vector<DriverQueue::Piece> pieces;
          for (int i = 0; i <= step / 5 % 3; i++) pieces.push_back({at, 1 + serial % 32});
          auto before = pair.driver.free_descriptors();
          auto head = pair.driver.Add(pieces);
          RC_ASSERT(head.has_value() == (pieces.size() <= before));
          if (head)
            announced.emplace_back(*head, static_cast<uint32_t>(pieces.size()) * (1 + serial % 32));
          serial++;
          break;
        }
        case 1:
        case 2: {
          auto chain = step % 5 == 1 ? pair.device.Pop() : pair.device.PopMore();
          if (step % 5 == 1) RC_ASSERT(chain.has_value() == !announced.empty());
          if (!chain) break;
          RC_ASSERT(chain->head == announced.front().first);
          RC_ASSERT(chain->readable_bytes == announced.front().second);
          announced.pop_front();
          popped.push_back(chain->head);
          break;
        }
        case 3:
          if (popped.empty()) break;
          pair.device.Push(popped.front(), 0);
          pushed.push_back(popped.front());
          popped.pop_front();
          break;
        default:
          auto used = pair.driver.Take();
          RC_ASSERT(used.has_value() == !pushed.empty());
          if (!used) break;
          RC_ASSERT(used->head == pushed.front());
          pushed.pop_front();
          break;
      }
      RC_ASSERT(!pair.device.broken());
    }
  });
  EXPECT_TRUE(agrees);
}

// A kick or an interrupt that is left out must never be the one that mattered: when nobody is told
// of anything any more, nothing lies in either ring.
TEST(Queue, NeverLosesANotificationWithEventIndex) {
  size_t adds = 0;
  size_t kicks = 0;
  size_t interrupts = 0;
  bool holds = rc::check([&] {
    GuestArena arena(kMiB);
    Pair pair(4, EventIndex::kOn, &arena);
    auto at = arena.Allocate(64);
    bool kicked = false;      // The device will look.
    bool interrupted = true;  // The driver will look; at first it asks to be told.
    size_t ready = 0;
    size_t done = 0;
    auto steps = *rc::gen::container<std::vector<uint8_t>>(rc::gen::arbitrary<uint8_t>());
    steps.resize(steps.size() * 4, 7);
    for (uint8_t step : steps) {
      if (step % 3 == 0 && pair.driver.Add({{at, 1}})) {
        adds++;
        ready++;
        if (step % 2 == 0 && pair.driver.KickDue()) {
          kicked = true;
          kicks++;
        }
      } else if (step % 3 == 1 && kicked) {
        // The device takes some; only when it found nothing does it wait to be kicked.
        for (int i = 0; i < 1 + step / 3 % 4; i++) {
          auto chain = pair.device.Pop();
          kicked = chain.has_value();
          if (!chain) break;
          pair.device.Push(chain->head, 0);
          ready--;
          done++;
        }
        if (pair.device.InterruptDue()) {
          interrupted = true;
          interrupts++;
        }
      } else if (interrupted) {
        while (pair.driver.Take()) done--;
        interrupted = false;
      }
    }
    if (pair.driver.KickDue()) kicked = true;
    if (!kicked) RC_ASSERT(ready == 0U);
    if (!interrupted) RC_ASSERT(done == 0U);
  });
  EXPECT_TRUE(holds);
  EXPECT_LT(kicks, adds);
  EXPECT_GT(interrupts, 0U);
}

}  // namespace
}  // namespace msb::vmm
