// SPDX-License-Identifier: Apache-2.0
// rlimits and the C library's own settings.

#include "programs/msb_vmm/limits.h"

#include <malloc.h>
#include <pthread.h>
#include <sys/resource.h>

#include <algorithm>

#include "base/text.h"

namespace msb::vmm {
namespace {

// Eight come with us, each device and processor adds a few.
constexpr rlim_t kOpenFiles = 256;
// Deepest are the devices' chains of descriptors: a few pages.
constexpr size_t kStackBytes = 256 * 1024;

Result<void> Limit(const char* name, decltype(RLIMIT_CORE) what, rlim_t value) {
  // The jail may have set a lower one, which cannot be raised.
  rlimit limit{};
  if (::getrlimit(what, &limit) == -1) return Error::Errno(Cat("getrlimit ", name));
  limit.rlim_cur = limit.rlim_max = std::min(limit.rlim_max, value);
  if (::setrlimit(what, &limit) == -1) return Error::Errno(Cat("setrlimit ", name));
  return {};
}

}  // namespace

Result<void> LimitProcess(uint64_t largest_file_bytes) {
  // A core would hold the guest's memory.
  TRY(Limit("RLIMIT_CORE", RLIMIT_CORE, 0));
  TRY(Limit("RLIMIT_NOFILE", RLIMIT_NOFILE, kOpenFiles));
  TRY(Limit("RLIMIT_FSIZE", RLIMIT_FSIZE, largest_file_bytes));
  ::mallopt(M_ARENA_MAX, 1);
  pthread_attr_t attributes;
  ::pthread_attr_init(&attributes);
  ::pthread_attr_setstacksize(&attributes, kStackBytes);
  ::pthread_setattr_default_np(&attributes);
  ::pthread_attr_destroy(&attributes);
  return {};
}

}  // namespace msb::vmm
