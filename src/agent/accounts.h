// SPDX-License-Identifier: Apache-2.0
// The passwd and group files of the sandbox's root, read again only when they have changed.

#pragma once

#include <sys/stat.h>

#include <string>

#include "agent/users.h"
#include "base/fd.h"
#include "base/result.h"

namespace msb::agent {

class Accounts {
 public:
  // `root` is the directory in which links are resolved.
  explicit Accounts(UniqueFd root) : root_(std::move(root)) {}
  // kNotFound: no such user or group.
  Result<Identity> Find(const std::string& user);

 private:
  struct File {
    const char* path;
    std::string text;
    struct stat seen {};
  };
  // Empty where there is none, or what is there is no plain file.
  const std::string& Read(File& file);

  UniqueFd root_;
  File passwd_{"etc/passwd", {}, {}};
  File group_{"etc/group", {}, {}};
};

}  // namespace msb::agent
