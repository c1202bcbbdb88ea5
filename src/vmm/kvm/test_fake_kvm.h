// SPDX-License-Identifier: Apache-2.0
// FakeKvm: a KVM for tests. Notes every call, answers as told, hands out memory files where KVM
// would hand out descriptors of its own. Processors may run on threads.

#pragma once

#include <linux/kvm.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>
#include <map>
#include <mutex>
#include <vector>

#include "sys/file.h"
#include "sys/mapping.h"
#include "vmm/kvm/calls.h"

namespace msb::vmm {

class FakeKvm final : public KvmCalls {
 public:
  using Answer = std::function<int(uint64_t argument)>;
  // KVM_RUN of processor `cpu`, with the memory that it shares.
  using Run = std::function<int(uint32_t cpu, kvm_run& shared)>;

  FakeKvm() {
    OnCall(KVM_GET_API_VERSION, [](uint64_t) { return KVM_API_VERSION; });
    OnCall(KVM_CHECK_EXTENSION, [](uint64_t) { return 1; });
    OnCall(KVM_GET_VCPU_MMAP_SIZE, [](uint64_t) { return static_cast<int>(kRunSize); });
    OnCall(KVM_CREATE_VM, [](uint64_t) { return Descriptor().Release(); });
    OnCall(KVM_CREATE_VCPU, [this](uint64_t cpu) { return MakeCpu(static_cast<uint32_t>(cpu)); });
  }

  int Control(BorrowedFd fd, unsigned long request, uint64_t argument) override {
    Answer answer;
    {
      std::lock_guard lock(mutex_);
      requests_.push_back(request);
      if (auto cpu = cpus_.find(fd.get()); request == KVM_RUN && run_ && cpu != cpus_.end())
        answer = [this, &found = cpu->second](uint64_t) {
          return run_(found.index, found.shared());
        };
      else if (auto told = answers_.find(request); told != answers_.end())
        answer = told->second;
    }
    return answer ? answer(argument) : 0;
  }

  void OnCall(unsigned long request, Answer answer) { answers_[request] = std::move(answer); }
  void OnRun(Run run) { run_ = std::move(run); }
  void Fail(unsigned long request, int error) {
    OnCall(request, [error](uint64_t) {
      errno = error;
      return -1;
    });
  }
  size_t Count(unsigned long request) {
    std::lock_guard lock(mutex_);
    return static_cast<size_t>(std::count(requests_.begin(), requests_.end(), request));
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

 private:
  struct Cpu {
    uint32_t index;
    sys::Mapping area;
    // SAFETY: the area is larger than the structure.
    kvm_run& shared() { return *reinterpret_cast<kvm_run*>(area.bytes().data()); }
  };

  static UniqueFd Descriptor() {
    auto file = sys::MemFd("fake-kvm");
    return file.ok() && sys::Truncate(*file, kRunSize).ok() ? *std::move(file) : UniqueFd();
  }
  int MakeCpu(uint32_t index) {
    UniqueFd file = Descriptor();
    auto area = sys::MapFile(file, kRunSize, 0, PROT_READ | PROT_WRITE, MAP_SHARED);
    if (!area.ok()) return -1;
    std::lock_guard lock(mutex_);
    cpus_.insert_or_assign(file.get(), Cpu{index, *std::move(area)});
    return file.Release();
  }

  std::map<unsigned long, Answer> answers_;
  Run run_;
  std::mutex mutex_;
  std::vector<unsigned long> requests_;
  std::map<int, Cpu> cpus_;
};

}  // namespace msb::vmm
