// SPDX-License-Identifier: Apache-2.0
// KvmCalls: the one way to KVM, so that tests put another in its place. KVM API: Linux
// Documentation/virt/kvm/api.rst.

#pragma once

#include <cstdint>

#include "base/fd.h"
#include "base/result.h"

namespace msb::vmm {

class KvmCalls {
 public:
  KvmCalls() = default;
  KvmCalls(const KvmCalls&) = delete;
  KvmCalls& operator=(const KvmCalls&) = delete;
  virtual ~KvmCalls() = default;
  // ioctl(2): its value, or -1 with errno. `argument` is a number or an address, as the request
  // says.
  virtual int Control(BorrowedFd fd, unsigned long request, uint64_t argument) = 0;

  // The same as Result; `name` is the request's: "KVM_SET_SREGS".
  Result<int> Do(BorrowedFd fd, const char* name, unsigned long request, uint64_t argument = 0);
  template <class T>
  Result<int> Do(BorrowedFd fd, const char* name, unsigned long request, T* argument) {
    // SAFETY: the kernel takes addresses as numbers.
    return Do(fd, name, request, reinterpret_cast<uint64_t>(argument));
  }
};

class RealKvmCalls final : public KvmCalls {
 public:
  int Control(BorrowedFd fd, unsigned long request, uint64_t argument) override;
};

}  // namespace msb::vmm
