// SPDX-License-Identifier: Apache-2.0
// A hostile driver of a writable disk; the first byte chooses a read-only one. The file keeps its
// size, and the read-only one its bytes.

#include <fcntl.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/check.h"
#include "sys/file.h"
#include "vmm/virtio/block/device.h"
#include "vmm/virtio/test_fuzz_guest.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace msb;
  constexpr off_t kDiskBytes = 64 * 1024;
  static auto worker = std::move(*vmm::BlockWorker::Start());
  static auto file = std::move(*sys::MemFd("disk"));
  if (size == 0) return 0;
  CHECK(sys::Truncate(file, kDiskBytes).ok());
  bool writable = data[0] % 2 == 0;
  auto access = writable ? vmm::DiskAccess::kWritable : vmm::DiskAccess::kReadOnly;
  auto fd = sys::OpenAt(sys::Cwd(), "/proc/self/fd/" + std::to_string(file.get()),
                        writable ? O_RDWR : O_RDONLY);
  auto device = vmm::BlockDevice::Create(*worker, std::move(*fd),
                                         {.access = access, .flush = vmm::DiskFlush::kKeep});
  CHECK(device.ok());
  auto before = (*sys::Stat(file)).st_mtim;
  {
    // A call runs after the kicks that came before it.
    vmm::FuzzGuest guest(**device, [] { worker->Call([] {}); });
    guest.Run(std::as_bytes(std::span(data, size)).subspan(1), [](ByteReader&) {});
  }
  auto after = *sys::Stat(file);
  CHECK(after.st_size == kDiskBytes);
  if (!writable) CHECK(after.st_mtim.tv_nsec == before.tv_nsec);
  return 0;
}
