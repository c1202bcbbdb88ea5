// SPDX-License-Identifier: Apache-2.0
// The parts of ByteReader that need not be inline.

#include "base/bytes.h"

#include "base/text.h"

namespace msb {

Result<std::string> ByteReader::Text(size_t limit) {
  uint32_t length = TRY(Number<uint32_t>());
  if (length > limit)
    return Error(Code::kInvalidArgument, Cat("text of ", length, " bytes, limit ", limit));
  return std::string(AsText(TRY(Bytes(length))));
}

Result<void> ByteReader::End() const {
  if (!rest_.empty())
    return Error(Code::kInvalidArgument, Cat(rest_.size(), " bytes after the message"));
  return {};
}

}  // namespace msb
