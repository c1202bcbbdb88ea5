// SPDX-License-Identifier: Apache-2.0
// ioctl(2) and its errors.

#include "vmm/kvm/calls.h"

#include <sys/ioctl.h>

#include <cerrno>

namespace msb::vmm {

Result<int> KvmCalls::Do(BorrowedFd fd, const char* name, unsigned long request,
                         uint64_t argument) {
  int value = Control(fd, request, argument);
  if (value == -1) return Error::Errno(name);
  return value;
}

int RealKvmCalls::Control(BorrowedFd fd, unsigned long request, uint64_t argument) {
  return ::ioctl(fd.get(), request, argument);
}

}  // namespace msb::vmm
