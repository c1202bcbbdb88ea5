// SPDX-License-Identifier: Apache-2.0
// POSIX ACLs as text, which tar carries, into the bytes that the kernel takes as an attribute.

#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace msb::rootfs {

// "user::rwx,user:1000:r-x,group::r--,mask::r-x,other::---", with commas or newlines, comments
// after
// "#", and star's and libarchive's fourth field "user:lisa:r-x:1000". Nothing when it is malformed
// or names somebody without a number: an image has no names.
std::optional<std::string> EncodeAcl(std::string_view text);

}  // namespace msb::rootfs
