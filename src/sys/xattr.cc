// SPDX-License-Identifier: Apache-2.0
#include "sys/xattr.h"

#include <sys/xattr.h>

#include <algorithm>

#include "base/text.h"
#include "sys/retry.h"

namespace msb::sys {
namespace {

// XATTR_LIST_MAX and XATTR_SIZE_MAX: nothing the kernel hands out is larger.
constexpr size_t kMaxKernelSize = 65536;

}  // namespace

Result<std::vector<ExtendedAttribute>> ListXattrs(BorrowedFd fd, size_t limit) {
  std::vector<ExtendedAttribute> attributes;
  std::string path = Cat("/proc/self/fd/", fd.get());
  std::string names(1024, '\0');
  ssize_t size =
      RetryOnEintr([&] { return ::listxattr(path.c_str(), names.data(), names.size()); });
  if (size < 0 && errno == ERANGE) {
    names.resize(kMaxKernelSize);
    size = RetryOnEintr([&] { return ::listxattr(path.c_str(), names.data(), names.size()); });
  }
  if (size < 0 && errno == EOPNOTSUPP) return attributes;
  if (size < 0) return Error::Errno("listxattr");
  if (size == 0) return attributes;

  size_t total = 0;
  std::string value(kMaxKernelSize, '\0');
  for (const std::string& name : Split(names.substr(0, static_cast<size_t>(size) - 1), '\0')) {
    ssize_t got = RetryOnEintr(
        [&] { return ::getxattr(path.c_str(), name.c_str(), value.data(), value.size()); });
    // Gone since, or not for us to see (trusted.*).
    if (got < 0 && (errno == ENODATA || errno == EPERM || errno == EACCES)) continue;
    if (got < 0) return Error::Errno(Cat("getxattr ", Escape(name)));
    total += static_cast<size_t>(got);
    if (total > limit)
      return Error(Code::kResourceExhausted,
                   Cat("extended attributes of more than ", limit, " bytes"));
    attributes.push_back({name, value.substr(0, static_cast<size_t>(got))});
  }
  std::sort(attributes.begin(), attributes.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  return attributes;
}

}  // namespace msb::sys
