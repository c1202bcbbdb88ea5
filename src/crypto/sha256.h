// SPDX-License-Identifier: Apache-2.0
// SHA-256 over OpenSSL's EVP, streaming; the only hash that names things in this project.

#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <span>

#include "base/fd.h"
#include "base/result.h"

namespace msb::crypto {

using Sha256Digest = std::array<std::byte, 32>;

// Create fetches the implementation once; hash many messages with one object (Finish resets it).
class Sha256 {
 public:
  static Result<Sha256> Create();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;
  ~Sha256();

  // The first failure of the library is kept for Finish.
  void Update(std::span<const std::byte> bytes);
  Result<Sha256Digest> Finish();

 private:
  struct State;
  explicit Sha256(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

Result<Sha256Digest> HashBytes(std::span<const std::byte> bytes);
// The whole file from its start, by pread: the position stays.
Result<Sha256Digest> HashFile(BorrowedFd file);

}  // namespace msb::crypto
