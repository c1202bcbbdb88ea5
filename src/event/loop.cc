// SPDX-License-Identifier: Apache-2.0
// The epoll loop. Events carry a watcher's id, never a pointer: a callback may end another watcher
// whose event is already in the batch, and the id is then not found.

#include "event/loop.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace msb::event {

struct Loop::Watcher {
  uint64_t id;
  int fd;
  Interest interest;
  Trigger trigger;
  std::function<void(Ready)> call;
};

struct Loop::Alarm {
  std::function<void()> call;
  bool pending = true;
  Alarms::iterator place;
  Alarms::node_type spare;  // When it was called: its place's memory, for Again().
};

namespace {

uint32_t Events(Interest interest, Trigger trigger) {
  auto bits = static_cast<uint8_t>(interest);
  return ((bits & 1) != 0 ? uint32_t{EPOLLIN | EPOLLRDHUP} : 0) |
         ((bits & 2) != 0 ? uint32_t{EPOLLOUT} : 0) |
         (trigger == Trigger::kEdge ? uint32_t{EPOLLET} : 0);
}

Ready ToReady(uint32_t events) {
  bool ended = (events & (EPOLLHUP | EPOLLERR)) != 0;
  return {.readable = ended || (events & (EPOLLIN | EPOLLRDHUP)) != 0,
          .writable = ended || (events & EPOLLOUT) != 0,
          .hangup = ended};
}

}  // namespace

Loop::Registration::Registration(Loop* loop, std::shared_ptr<Watcher> watcher)
    : loop_(loop), watcher_(std::move(watcher)) {}

Loop::Registration::Registration(Registration&& other) noexcept
    : loop_(std::exchange(other.loop_, nullptr)), watcher_(std::move(other.watcher_)) {}

Loop::Registration& Loop::Registration::operator=(Registration&& other) noexcept {
  if (this != &other) {
    Cancel();
    loop_ = std::exchange(other.loop_, nullptr);
    watcher_ = std::move(other.watcher_);
  }
  return *this;
}

Result<void> Loop::Registration::SetInterest(Interest interest) {
  if (watcher_ == nullptr || watcher_->interest == interest) return {};
  epoll_event event{Events(interest, watcher_->trigger), {.u64 = watcher_->id}};
  if (::epoll_ctl(loop_->epoll_.get(), EPOLL_CTL_MOD, watcher_->fd, &event) == -1)
    return Error::Errno("epoll_ctl EPOLL_CTL_MOD");
  watcher_->interest = interest;
  return {};
}

void Loop::Registration::Cancel() {
  if (watcher_ == nullptr) return;
  ::epoll_ctl(loop_->epoll_.get(), EPOLL_CTL_DEL, watcher_->fd, nullptr);
  loop_->watchers_.erase(watcher_->id);
  watcher_.reset();
  loop_ = nullptr;
}

Loop::Timer::Timer(Loop* loop, std::shared_ptr<Alarm> alarm)
    : loop_(loop), alarm_(std::move(alarm)) {}

Loop::Timer::Timer(Timer&& other) noexcept
    : loop_(std::exchange(other.loop_, nullptr)), alarm_(std::move(other.alarm_)) {}

Loop::Timer& Loop::Timer::operator=(Timer&& other) noexcept {
  if (this != &other) {
    Cancel();
    loop_ = std::exchange(other.loop_, nullptr);
    alarm_ = std::move(other.alarm_);
  }
  return *this;
}

bool Loop::Timer::pending() const { return alarm_ != nullptr && alarm_->pending; }

bool Loop::Timer::Again(Clock::duration delay) {
  if (alarm_ == nullptr || alarm_->spare.empty()) return false;
  alarm_->spare.key() = Clock::now() + delay;
  alarm_->spare.mapped() = alarm_;
  alarm_->pending = true;
  alarm_->place = loop_->alarms_.insert(std::move(alarm_->spare));
  return true;
}

void Loop::Timer::Cancel() {
  if (pending()) {
    alarm_->pending = false;
    loop_->alarms_.erase(alarm_->place);
  }
  alarm_.reset();
}

Result<std::unique_ptr<Loop>> Loop::Create() {
  UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return Error::Errno("epoll_create1");
  UniqueFd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake) return Error::Errno("eventfd");
  epoll_event event{EPOLLIN, {.u64 = 0}};
  if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, wake.get(), &event) == -1)
    return Error::Errno("epoll_ctl EPOLL_CTL_ADD");
  return std::unique_ptr<Loop>(new Loop(std::move(epoll), std::move(wake)));
}

Loop::~Loop() = default;

Result<Loop::Registration> Loop::Watch(BorrowedFd fd, Interest interest,
                                       std::function<void(Ready)> call, Trigger trigger) {
  auto watcher =
      std::make_shared<Watcher>(Watcher{next_id_++, fd.get(), interest, trigger, std::move(call)});
  epoll_event event{Events(interest, trigger), {.u64 = watcher->id}};
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd.get(), &event) == -1)
    return Error::Errno("epoll_ctl EPOLL_CTL_ADD");
  watchers_.emplace(watcher->id, watcher);
  return Registration(this, std::move(watcher));
}

Loop::Timer Loop::At(Clock::time_point when, std::function<void()> call) {
  auto alarm = std::make_shared<Alarm>();
  alarm->call = std::move(call);
  alarm->place = alarms_.emplace(when, alarm);
  return Timer(this, std::move(alarm));
}

void Loop::Post(std::function<void()> call) {
  {
    std::lock_guard lock(posted_mutex_);
    posted_.push_back(std::move(call));
  }
  uint64_t one = 1;
  // EAGAIN: the counter is full, so the loop is awake already.
  [[maybe_unused]] ssize_t n = ::write(wake_.get(), &one, sizeof one);
}

Result<void> Loop::Run() {
  stop_ = false;
  while (!stop_) TRY(RunOnce(Deadline::Never()));
  return {};
}

Result<void> Loop::RunOnce(Deadline deadline) {
  int timeout = deadline.PollTimeout();
  if (!alarms_.empty()) {
    auto left = std::chrono::ceil<std::chrono::milliseconds>(alarms_.begin()->first - Clock::now());
    int due = static_cast<int>(std::min<int64_t>(std::max<int64_t>(left.count(), 0), 1 << 30));
    if (timeout < 0 || due < timeout) timeout = due;
  }
  std::array<epoll_event, 64> events;
  int n = ::epoll_wait(epoll_.get(), events.data(), events.size(), timeout);
  if (n == -1 && errno != EINTR) return Error::Errno("epoll_wait");
  bool woken = false;
  for (int i = 0; i < n; i++) {
    const epoll_event& event = events[static_cast<size_t>(i)];
    uint64_t id = event.data.u64;  // A copy: the struct is packed, and find() takes a reference.
    if (id == 0) {
      woken = true;
      continue;
    }
    auto found = watchers_.find(id);
    if (found == watchers_.end()) continue;
    auto watcher = found->second;  // Kept alive while it runs, even if it ends itself.
    watcher->call(ToReady(event.events));
  }
  RunAlarms();
  if (woken) RunPosted();
  return {};
}

void Loop::RunAlarms() {
  auto now = Clock::now();
  while (!alarms_.empty() && alarms_.begin()->first <= now) {
    auto place = alarms_.extract(alarms_.begin());
    auto alarm = std::move(place.mapped());
    alarm->spare = std::move(place);
    alarm->pending = false;
    alarm->call();
  }
}

void Loop::RunPosted() {
  uint64_t count;
  [[maybe_unused]] ssize_t n = ::read(wake_.get(), &count, sizeof count);
  std::vector<std::function<void()>> posted;
  {
    std::lock_guard lock(posted_mutex_);
    posted.swap(posted_);
  }
  for (auto& call : posted) call();
}

}  // namespace msb::event
