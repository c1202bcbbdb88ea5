// SPDX-License-Identifier: Apache-2.0
// A thread with an event loop, and calls to it.

#include "vmm/virtio/block/worker.h"

#include <condition_variable>
#include <mutex>

#include "sys/process.h"

namespace msb::vmm {

Result<std::unique_ptr<BlockWorker>> BlockWorker::Start(std::function<void()> on_start) {
  std::unique_ptr<BlockWorker> worker(new BlockWorker(TRY(event::Loop::Create())));
  worker->thread_ = std::thread([loop = worker->loop_.get(), on_start = std::move(on_start)] {
    sys::NameThread("blk");
    if (on_start) on_start();
    // It fails when epoll_wait() does, and that on a descriptor of our own.
    (void)loop->Run();
  });
  return worker;
}

BlockWorker::~BlockWorker() {
  loop_->Post([this] { loop_->Stop(); });
  thread_.join();
}

void BlockWorker::Call(const std::function<void()>& call) {
  std::mutex mutex;
  std::condition_variable done_changed;
  bool done = false;
  waiting_.fetch_add(1, std::memory_order_relaxed);
  loop_->Post([&] {
    waiting_.fetch_sub(1, std::memory_order_relaxed);
    call();
    // Told under the lock: once the caller has it, all of this is gone.
    std::lock_guard lock(mutex);
    done = true;
    done_changed.notify_one();
  });
  std::unique_lock lock(mutex);
  done_changed.wait(lock, [&] { return done; });
}

}  // namespace msb::vmm
