// SPDX-License-Identifier: Apache-2.0
// Known answers of FIPS 180-4, and that pieces hash as the whole.
#include "crypto/sha256.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <string>

#include "base/bytes.h"
#include "base/text.h"

namespace msb::crypto {
namespace {

TEST(Sha256, KnowsTheAnswersOfTheStandard) {
  EXPECT_EQ(Hex(*HashBytes(AsBytes(""))),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(Hex(*HashBytes(AsBytes("abc"))),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Sha256, HashesPiecesAsTheWholeAndStartsAnewAfterFinish) {
  Sha256 hash = *Sha256::Create();
  for (int round = 0; round < 2; ++round) {
    hash.Update(AsBytes("a"));
    hash.Update(AsBytes(""));
    hash.Update(AsBytes("bc"));
    EXPECT_EQ(*hash.Finish(), *HashBytes(AsBytes("abc")));
  }
}

TEST(HashFile, ReadsFromTheStartAndLeavesThePosition) {
  UniqueFd file(::memfd_create("hash", MFD_CLOEXEC));
  std::string text(300'000, 'x');
  ASSERT_EQ(::write(file.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  EXPECT_EQ(*HashFile(file), *HashBytes(AsBytes(text)));
  EXPECT_EQ(::lseek(file.get(), 0, SEEK_CUR), static_cast<off_t>(text.size()));
}

TEST(HashFile, SaysWhenTheFileCannotBeRead) {
  EXPECT_EQ(HashFile(BorrowedFd::Raw(-1)).error().sys_errno(), EBADF);
}

}  // namespace
}  // namespace msb::crypto
