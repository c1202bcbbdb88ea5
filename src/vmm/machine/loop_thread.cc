// SPDX-License-Identifier: Apache-2.0
// The hand-over from vCPU threads to the loop.

#include "vmm/machine/loop_thread.h"

namespace msb::vmm {

void LoopThread::Call(std::function<void()> call) {
  Waiting waiting{&call};
  std::unique_lock lock(mutex_);
  if (closed_) return;
  waiting_.push_back(&waiting);
  loop_.Post([this] { RunWaiting(); });
  went_.wait(lock, [&] { return waiting.done; });
}

void LoopThread::RunWaiting() {
  std::unique_lock lock(mutex_);
  std::vector<Waiting*> ready;
  ready.swap(waiting_);
  lock.unlock();
  for (Waiting* waiting : ready) (*waiting->call)();
  lock.lock();
  // A caller's place on its stack is gone as soon as it sees this.
  for (Waiting* waiting : ready) waiting->done = true;
  went_.notify_all();
}

void LoopThread::Close() {
  std::lock_guard lock(mutex_);
  closed_ = true;
  for (Waiting* waiting : waiting_) waiting->done = true;
  waiting_.clear();
  went_.notify_all();
}

}  // namespace msb::vmm
