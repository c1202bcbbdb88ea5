// SPDX-License-Identifier: Apache-2.0
// FakeKvm: a KVM for tests. Notes every call, answers as told, hands out memory files where KVM
// would hand out descriptors of its own.

#pragma once

#include <fcntl.h>
#include <linux/kvm.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>
#include <map>
#include <vector>

#include "sys/file.h"
#include "vmm/kvm/calls.h"

namespace msb::vmm {

class FakeKvm final : public KvmCalls {
 public:
  using Answer = std::function<int(uint64_t argument)>;

  FakeKvm() {
    OnCall(KVM_GET_API_VERSION, [](uint64_t) { return KVM_API_VERSION; });
    OnCall(KVM_CHECK_EXTENSION, [](uint64_t) { return 1; });
    OnCall(KVM_GET_VCPU_MMAP_SIZE, [](uint64_t) { return static_cast<int>(kRunSize); });
    OnCall(KVM_CREATE_VM, [](uint64_t) { return Descriptor(); });
    OnCall(KVM_CREATE_VCPU, [](uint64_t) { return Descriptor(); });
  }

  int Control(BorrowedFd, unsigned long request, uint64_t argument) override {
    requests.push_back(request);
    auto found = answers_.find(request);
    return found == answers_.end() ? 0 : found->second(argument);
  }

  void OnCall(unsigned long request, Answer answer) { answers_[request] = std::move(answer); }
  void Fail(unsigned long request, int error) {
    OnCall(request, [error](uint64_t) {
      errno = error;
      return -1;
    });
  }
  size_t Count(unsigned long request) const {
    return static_cast<size_t>(std::count(requests.begin(), requests.end(), request));
  }
  // What a pointer argument points to.
  template <class T>
  static T Load(uint64_t argument) {
    T value;
    // SAFETY: the caller of KvmCalls passed the address of a T.
    std::memcpy(&value, reinterpret_cast<const void*>(argument), sizeof value);
    return value;
  }

  // As large as KVM's: struct kvm_run, a page of port data behind it.
  static constexpr size_t kRunSize = 3 * 4096;
  std::vector<unsigned long> requests;

 private:
  static int Descriptor() {
    auto file = sys::MemFd("fake-kvm");
    if (!file.ok() || !sys::Truncate(*file, kRunSize).ok()) return -1;
    return file->Release();
  }
  std::map<unsigned long, Answer> answers_;
};

}  // namespace msb::vmm
