// SPDX-License-Identifier: Apache-2.0
// LoopThread: the device thread's loop, as vCPU threads use it.

#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <vector>

#include "event/loop.h"
#include "vmm/virtio/device_thread.h"

namespace msb::vmm {

// A vCPU that resets a device waits in Call() until the loop has done it. When the machine ends
// meanwhile, Close() lets it go with its call dropped: the one who ends waits for the vCPU threads.
class LoopThread final : public DeviceThread {
 public:
  // Runs as long as `loop` does, which outlives this.
  explicit LoopThread(event::Loop& loop) : loop_(loop) {}

  void Call(std::function<void()> call) override;
  // On the loop's thread: nothing runs after this.
  void Close();

 private:
  struct Waiting {
    const std::function<void()>* call;
    bool done = false;
  };
  void RunWaiting();

  event::Loop& loop_;
  std::mutex mutex_;
  std::condition_variable went_;
  std::vector<Waiting*> waiting_;  // Each on the stack of its caller.
  bool closed_ = false;
};

}  // namespace msb::vmm
