// SPDX-License-Identifier: Apache-2.0
// The unpacker's report: both sides, and a report that a taken-over unpacker might write.
#include "programs/msb_image/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace msb::image_program {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(Report, CarriesTheSummary) {
  rootfs::RootDiskSummary summary{.image_bytes = 4096, .files = 7, .first_dropped_xattr = "x"};
  auto read = ReadReport(WriteReport(summary));
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->image_bytes, 4096U);
  EXPECT_EQ(read->files, 7U);
  EXPECT_EQ(read->first_dropped_xattr, "x");
}

TEST(Report, CarriesTheErrorWithCodeAndRemedy) {
  Result<rootfs::RootDiskSummary> failed =
      Error(Code::kDataLoss, "tar: truncated").Remedy("fetch it again");
  auto read = ReadReport(WriteReport(failed));
  EXPECT_EQ(read.error().code(), Code::kDataLoss);
  EXPECT_EQ(read.error().message(), "tar: truncated");
  EXPECT_EQ(read.error().remedy(), "fetch it again");
}

TEST(Report, ErrorsLookLikeThoseOfMsb) {
  Error error = Error(Code::kDataLoss, "tar: \"x\" is cut short").Remedy("fetch it again");
  EXPECT_EQ(FormatError(error, ErrorFormat::kText),
            "msb-image: tar: \"x\" is cut short [data_loss]\n  fix: fetch it again\n");
  EXPECT_EQ(FormatError(error, ErrorFormat::kJson),
            R"({"error":{"code":"data_loss","message":"tar: \"x\" is cut short",)"
            R"("remedy":"fetch it again"}})"
            "\n");
  EXPECT_EQ(FormatError(Error(Code::kInternal, "x"), ErrorFormat::kJson),
            "{\"error\":{\"code\":\"internal\",\"message\":\"x\",\"remedy\":null}}\n");
}

TEST(Report, IsNotBelievedBlindly) {
  for (const char* text : {"", "{}", "[]", R"({"summary":null,"error":null})",
                           R"({"summary":{"image_bytes":-1}})", R"({"error":{"code":"fine"}})"})
    EXPECT_FALSE(ReadReport(text).ok()) << text;
  auto read = ReadReport(
      R"({"error":{"code":"internal","message":"\u001b[2Jx","remedy":"\u0007","errno":0}})");
  EXPECT_THAT(read.error().message(), Not(HasSubstr("\x1b")));
  EXPECT_THAT(read.error().remedy(), Not(HasSubstr("\x07")));
}

}  // namespace
}  // namespace msb::image_program
