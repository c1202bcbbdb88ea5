// SPDX-License-Identifier: Apache-2.0
// The EVP calls behind Sha256, and nothing of OpenSSL beyond this file.
#include "crypto/sha256.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

namespace msb::crypto {
namespace {

struct FreeDigest {
  void operator()(EVP_MD* digest) const { EVP_MD_free(digest); }
};
struct FreeContext {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};

Error LibraryError(const char* call) {
  char text[256];
  ERR_error_string_n(ERR_get_error(), text, sizeof text);
  return {Code::kInternal, std::string(call) + ": " + text};
}

}  // namespace

struct Sha256::State {
  std::unique_ptr<EVP_MD, FreeDigest> digest;
  std::unique_ptr<EVP_MD_CTX, FreeContext> context;
  bool failed = false;
};

Sha256::Sha256(std::unique_ptr<State> state) : state_(std::move(state)) {}
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;
Sha256::~Sha256() = default;

Result<Sha256> Sha256::Create() {
  auto state = std::make_unique<State>();
  state->digest.reset(EVP_MD_fetch(nullptr, "SHA256", nullptr));
  if (!state->digest) return LibraryError("EVP_MD_fetch SHA256");
  state->context.reset(EVP_MD_CTX_new());
  if (!state->context ||
      EVP_DigestInit_ex2(state->context.get(), state->digest.get(), nullptr) != 1)
    return LibraryError("EVP_DigestInit_ex2");
  return Sha256(std::move(state));
}

void Sha256::Update(std::span<const std::byte> bytes) {
  if (EVP_DigestUpdate(state_->context.get(), bytes.data(), bytes.size()) != 1)
    state_->failed = true;
}

Result<Sha256Digest> Sha256::Finish() {
  Sha256Digest digest{};
  EVP_MD_CTX* context = state_->context.get();
  // SAFETY: unsigned char may alias std::byte; the array is as long as the digest.
  auto* out = reinterpret_cast<unsigned char*>(digest.data());
  if (std::exchange(state_->failed, false) || EVP_DigestFinal_ex(context, out, nullptr) != 1 ||
      EVP_DigestInit_ex2(context, state_->digest.get(), nullptr) != 1)
    return LibraryError("EVP_Digest");
  return digest;
}

Result<Sha256Digest> HashBytes(std::span<const std::byte> bytes) {
  Sha256 hash = TRY(Sha256::Create());
  hash.Update(bytes);
  return hash.Finish();
}

Result<Sha256Digest> HashFile(BorrowedFd file) {
  Sha256 hash = TRY(Sha256::Create());
  std::vector<std::byte> buffer(size_t{256} << 10);
  off_t offset = 0;
  while (true) {
    ssize_t got = ::pread(file.get(), buffer.data(), buffer.size(), offset);
    if (got == -1 && errno == EINTR) continue;
    if (got == -1) return Error::Errno("pread");
    if (got == 0) return hash.Finish();
    hash.Update(std::span(buffer).first(static_cast<size_t>(got)));
    offset += got;
  }
}

}  // namespace msb::crypto
