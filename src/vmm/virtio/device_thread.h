// SPDX-License-Identifier: Apache-2.0
// DeviceThread: how a vCPU thread has something done by the device thread.

#pragma once

#include <functional>

namespace msb::vmm {

class DeviceThread {
 public:
  virtual ~DeviceThread() = default;
  // Runs `call` on the device thread and returns when it has returned. Never called on the device
  // thread itself. Should the device thread have ended, `call` is dropped.
  virtual void Call(std::function<void()> call) = 0;
};

}  // namespace msb::vmm
