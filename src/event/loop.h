// SPDX-License-Identifier: Apache-2.0
// Loop: waits for descriptors, timers and posted functions, on one thread. For agent, supervisor,
// VMM and the client's relay.
//
// A Loop owns an epoll instance; Registration and Timer are owned by whoever asked and end the
// watching when they are destroyed, also from inside a callback, their own included.
// Everything is called on the thread of Run(), except Post(), which any thread may call.

#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "base/deadline.h"
#include "base/fd.h"
#include "base/result.h"

namespace msb::event {

enum class Interest : uint8_t { kNone = 0, kRead = 1, kWrite = 2, kReadWrite = 3 };

enum class Trigger : uint8_t {
  kLevel,  // Called for as long as the descriptor is ready.
  kEdge,   // Called once for each event: an eventfd, then, need never be read.
};

struct Ready {
  bool readable = false;  // Also on hang-up and error: the read says which.
  bool writable = false;
  bool hangup = false;
};

class Loop {
  struct Watcher;
  struct Alarm;
  using Alarms = std::multimap<Clock::time_point, std::shared_ptr<Alarm>>;

 public:
  // Watching of one descriptor, which must stay open while this lives.
  class [[nodiscard]] Registration {
   public:
    Registration() = default;
    Registration(Registration&& other) noexcept;
    Registration& operator=(Registration&& other) noexcept;
    ~Registration() { Cancel(); }
    // kNone still reports hang-up and error.
    Result<void> SetInterest(Interest interest);
    void Cancel();

   private:
    friend class Loop;
    Registration(Loop* loop, std::shared_ptr<Watcher> watcher);
    Loop* loop_ = nullptr;
    // Shared between this and the loop while it dispatches an event to the watcher.
    std::shared_ptr<Watcher> watcher_;
  };

  class [[nodiscard]] Timer {
   public:
    Timer() = default;
    Timer(Timer&& other) noexcept;
    Timer& operator=(Timer&& other) noexcept;
    ~Timer() { Cancel(); }
    void Cancel();
    bool pending() const;
    // After it was called and was not cancelled: once more, `delay` from now. Allocates nothing.
    // False when there is nothing to call.
    bool Again(Clock::duration delay);

   private:
    friend class Loop;
    Timer(Loop* loop, std::shared_ptr<Alarm> alarm);
    Loop* loop_ = nullptr;
    // Shared between this and the loop while it calls the function.
    std::shared_ptr<Alarm> alarm_;
  };

  static Result<std::unique_ptr<Loop>> Create();
  ~Loop();

  Result<Registration> Watch(BorrowedFd fd, Interest interest, std::function<void(Ready)> call,
                             Trigger trigger = Trigger::kLevel);
  Timer At(Clock::time_point when, std::function<void()> call);
  Timer After(Clock::duration delay, std::function<void()> call) {
    return At(Clock::now() + delay, std::move(call));
  }
  // Runs `call` on the loop's thread, after what is being dispatched.
  void Post(std::function<void()> call);

  // Until Stop(). An error is the epoll call's own.
  Result<void> Run();
  void Stop() { stop_ = true; }
  // One round: waits at most until `deadline`, dispatches what is there.
  Result<void> RunOnce(Deadline deadline);
  // For who waits elsewhere: readable when RunOnce() has something to do, timers apart.
  BorrowedFd fd() const { return epoll_; }

 private:
  explicit Loop(UniqueFd epoll, UniqueFd wake) : epoll_(std::move(epoll)), wake_(std::move(wake)) {}
  void RunAlarms();
  void RunPosted();

  UniqueFd epoll_;
  UniqueFd wake_;  // An eventfd that Post() rings.
  std::map<uint64_t, std::shared_ptr<Watcher>> watchers_;
  uint64_t next_id_ = 1;  // 0 is wake_.
  Alarms alarms_;
  std::mutex posted_mutex_;
  std::vector<std::function<void()>> posted_;
  bool stop_ = false;
};

}  // namespace msb::event
