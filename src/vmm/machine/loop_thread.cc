// SPDX-License-Identifier: Apache-2.0
// The hand-over from vCPU threads to the loop.

#include "vmm/machine/loop_thread.h"

namespace msb::vmm {

void LoopThread::Call(std::function<void()> call) {
  Waiting waiting{&call};
  {
    std::lock_guard lock(mutex_);
    if (closed_) return;
    waiting_.push_back(&waiting);
  }
  loop_.Post([this] { RunWaiting(); });
  waiting.done.acquire();
}

void LoopThread::RunWaiting() {
  std::vector<Waiting*> ready;
  {
    std::lock_guard lock(mutex_);
    ready.swap(waiting_);
  }
  for (Waiting* waiting : ready) {
    (*waiting->call)();
    waiting->done.release();
  }
}

void LoopThread::Close() {
  std::lock_guard lock(mutex_);
  closed_ = true;
  for (Waiting* waiting : waiting_) waiting->done.release();
  waiting_.clear();
}

}  // namespace msb::vmm
