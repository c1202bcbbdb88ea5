// SPDX-License-Identifier: Apache-2.0
// BlockWorker: the thread that reads and writes disks, so that a slow disk of the host does not
// stop the device thread, and with it the agent channel; but while the guest starts or resets a
// disk the device thread waits for the one request that is under way.

#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <thread>

#include "base/result.h"
#include "event/loop.h"

namespace msb::vmm {

// One for all disks of a machine, which must be gone before it.
class BlockWorker {
 public:
  // `on_start` runs first on the new thread: to confine it.
  static Result<std::unique_ptr<BlockWorker>> Start(std::function<void()> on_start = {});
  ~BlockWorker();
  BlockWorker(const BlockWorker&) = delete;
  BlockWorker& operator=(const BlockWorker&) = delete;

  // Runs `call` on the worker and returns when it has returned. From any other thread.
  void Call(const std::function<void()>& call);
  // Somebody waits in Call(): the device thread, and with it every other device. Worker thread:
  // come back to the loop soon.
  bool wanted() const { return waiting_.load(std::memory_order_relaxed) != 0; }
  event::Loop& loop() { return *loop_; }

 private:
  explicit BlockWorker(std::unique_ptr<event::Loop> loop) : loop_(std::move(loop)) {}

  std::unique_ptr<event::Loop> loop_;
  std::atomic<int> waiting_ = 0;
  std::thread thread_;
};

}  // namespace msb::vmm
