// SPDX-License-Identifier: Apache-2.0
// Tests of the vocabulary: errors, text, bytes, units, names, JSON.

#include <fcntl.h>
#include <gtest/gtest.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/checked.h"
#include "base/deadline.h"
#include "base/fd.h"
#include "base/json_writer.h"
#include "base/log.h"
#include "base/name.h"
#include "base/units.h"

namespace msb {
namespace {

Result<int> Half(int n) {
  if (n % 2 != 0) return Error(Code::kInvalidArgument, "odd").Remedy("give an even number");
  return n / 2;
}

Result<int> Quarter(int n) { return TRY(Half(TRY(Half(n)))); }

TEST(Result, TryReturnsTheValueOrTheError) {
  EXPECT_EQ(*Quarter(8), 2);
  EXPECT_EQ(Quarter(6).error().code(), Code::kInvalidArgument);
}

TEST(Result, ContextIsOutermostFirstAndTheInnermostRemedyStays) {
  auto result = Half(3).Context("inner").Context("outer").Remedy("another");
  EXPECT_EQ(result.error().message(), "outer: inner: odd");
  EXPECT_EQ(result.error().remedy(), "give an even number");
}

TEST(Result, ErrnoNamesTheCallAndMapsToACode) {
  Error error = Error::Errno("openat x", ENOENT);
  EXPECT_EQ(error.message(), "openat x: No such file or directory");
  EXPECT_EQ(error.code(), Code::kNotFound);
  EXPECT_EQ(error.sys_errno(), ENOENT);
  EXPECT_EQ(Error::Errno("x", 99999).message(), "x: unknown error");
}

TEST(ResultDeathTest, ReadingTheWrongSideStopsTheProgram) { EXPECT_DEATH((void)*Half(3), ""); }

TEST(CheckDeathTest, NamesTheCondition) { EXPECT_DEATH(CHECK(1 == 2), "CHECK failed: 1 == 2"); }

TEST(UniqueFd, ClosesOnceAndSurvivesSelfMove) {
  UniqueFd fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  int raw = fd.get();
  auto& alias = fd;
  fd = std::move(alias);
  EXPECT_EQ(fd.get(), raw);
  { UniqueFd moved = std::move(fd); }
  EXPECT_EQ(::fcntl(raw, F_GETFD), -1);
}

TEST(Text, EscapesControlBytesAndBadUtf8) {
  EXPECT_EQ(Escape("a\x1b[31m\xff"), "a\\x1b[31m\\xff");
  EXPECT_EQ(Escape("gr\xc3\xbc\xc3\x9f"), "gr\xc3\xbc\xc3\x9f");
  EXPECT_EQ(Escape("\xc2\x9b"), "\\xc2\\x9b");  // CSI in eight bits, which terminals obey.
  EXPECT_EQ(Escape("abcdef", 3), "abc...");
  EXPECT_EQ(Escape("\xed\xa0\x80"), "\\xed\\xa0\\x80");
}

TEST(Text, HexRoundTrips) {
  auto bytes = ParseHex("00ff7a");
  ASSERT_TRUE(bytes);
  EXPECT_EQ(Hex(*bytes), "00ff7a");
  EXPECT_FALSE(ParseHex("0"));
  EXPECT_FALSE(ParseHex("0G"));
}

TEST(Log, TimesAreThoseOfUtc) {
  auto text = [](int64_t seconds) { return UtcText(std::chrono::seconds(seconds), 7); };
  EXPECT_EQ(text(0), "1970-01-01T00:00:00.007Z");
  EXPECT_EQ(text(951'826'559), "2000-02-29T12:15:59.007Z");
  EXPECT_EQ(text(1'735'689'599), "2024-12-31T23:59:59.007Z");
  EXPECT_EQ(text(4'102'444'800), "2100-01-01T00:00:00.007Z");
}

TEST(Text, SaysWhatWasMeant) {
  std::vector<std::string> words = {"exec", "logs"};
  EXPECT_EQ(DidYouMean("exce", words, "see help"), "did you mean exec?");
  EXPECT_EQ(DidYouMean("zzz", words, "see help"), "see help");
}

TEST(Text, SuggestsTheNearWordOnly) {
  std::vector<std::string> words{"exec", "inspect", "logs"};
  EXPECT_EQ(Suggest("exce", words), "exec");
  EXPECT_EQ(Suggest("insepct", words), "inspect");
  EXPECT_EQ(Suggest("xyzzyxyzzy", words), std::nullopt);
  std::vector<std::string> near{"exe", "exec", "x", "rm"};
  EXPECT_EQ(Suggest("exce", near), "exec");
  EXPECT_EQ(Suggest("exex", near), "exec");
  EXPECT_EQ(Suggest("mr", near), "rm");
  EXPECT_EQ(Suggest("q", near), std::nullopt);
}

TEST(Text, SuggestsWhatWasBegunFirst) {
  std::vector<std::string> options{"--env", "--tty", "--user", "--memory", "--name", "--no-tty"};
  EXPECT_EQ(Suggest("--mem", options), "--memory");
  EXPECT_EQ(Suggest("--nmae", options), "--name");
  EXPECT_EQ(Suggest("--", options), std::nullopt);
}

TEST(Text, NumbersAreWholeOrNothing) {
  EXPECT_EQ(ParseNumber<int>("12"), 12);
  EXPECT_FALSE(ParseNumber<int>("12x"));
  EXPECT_FALSE(ParseNumber<uint8_t>("256"));
  EXPECT_FALSE(ParseNumber<int>(""));
}

TEST(Bytes, ReaderRefusesWhatIsNotThere) {
  ByteWriter writer;
  writer.Number<uint16_t>(7);
  writer.Text("name");
  ByteReader reader(writer.bytes());
  EXPECT_EQ(*reader.Number<uint16_t>(), 7);
  EXPECT_EQ(*reader.Text(16), "name");
  EXPECT_TRUE(reader.End());
  EXPECT_FALSE(reader.Number<uint8_t>());
  ByteReader limited(writer.bytes().subspan(2));
  EXPECT_FALSE(limited.Text(3));
}

TEST(Checked, RefusesWhatDoesNotFit) {
  EXPECT_FALSE(checked_cast<uint8_t>(256));
  EXPECT_FALSE(CheckedAdd<uint64_t>(UINT64_MAX, 1));
  EXPECT_FALSE(CheckedMul<int>(1 << 20, 1 << 20));
  EXPECT_EQ(*CheckedAdd<uint64_t>(2, 3), 5u);
}

TEST(Units, SizesMeanPowersOf1024AndABareNumberIsMiB) {
  EXPECT_EQ(*ParseSize("256M"), 256 * kMiB);
  EXPECT_EQ(*ParseSize("512MiB"), 512 * kMiB);
  EXPECT_EQ(*ParseSize("1g"), kGiB);
  EXPECT_EQ(*ParseSize("1.5G"), 1536 * kMiB);
  EXPECT_EQ(*ParseSize("512"), 512 * kMiB);
  EXPECT_EQ(*ParseSize("100b"), 100u);
  for (const char* bad :
       {"", "M", "-1", "1X", "1.G", "1.2345G", "99999999999999999999", "1 G", "0x10"})
    EXPECT_FALSE(ParseSize(bad)) << bad;
}

TEST(Units, SizesPrintShort) {
  EXPECT_EQ(FormatSize(512 * kMiB), "512 MiB");
  EXPECT_EQ(FormatSize(1536 * kMiB), "1.5 GiB");
  EXPECT_EQ(FormatSize(12), "12 B");
}

TEST(Units, Durations) {
  using std::chrono::milliseconds;
  EXPECT_EQ(*ParseDuration("500ms"), milliseconds(500));
  EXPECT_EQ(*ParseDuration("10"), milliseconds(10'000));
  EXPECT_EQ(*ParseDuration("1.5s"), milliseconds(1500));
  EXPECT_EQ(*ParseDuration("2h"), milliseconds(7'200'000));
  for (const char* bad : {"", "0", "-1s", "1w", "s", "99999d"})
    EXPECT_FALSE(ParseDuration(bad)) << bad;
}

TEST(Deadline, TellsPollHowLong) {
  EXPECT_EQ(Deadline::Never().PollTimeout(), -1);
  EXPECT_EQ(Deadline::After(std::chrono::seconds(-1)).PollTimeout(), 0);
  EXPECT_GT(Deadline::After(std::chrono::seconds(10)).PollTimeout(), 9000);
}

TEST(Name, OneGrammar) {
  for (const char* good : {"a", "web-1", "A_b", "0x"}) EXPECT_TRUE(CheckName(good, "name")) << good;
  for (const char* bad : {"", "-a", "_a", "a.b", "a/b", "a b", "\xc3\xa4"})
    EXPECT_FALSE(CheckName(bad, "name")) << bad;
  EXPECT_FALSE(CheckName(std::string(64, 'a'), "name"));
  EXPECT_TRUE(CheckHostname("box.example"));
  for (const char* bad : {"", ".", "a..b", "-a", "a-", "a_b"})
    EXPECT_FALSE(CheckHostname(bad)) << bad;
}

TEST(JsonWriter, PutsCommasAndEscapes) {
  JsonWriter json;
  json.BeginObject();
  json.Key("a").BeginArray().Number(1).String("x\"\n\xff").EndArray();
  json.Key("b").Null();
  json.Key("c").BeginObject().EndObject();
  json.EndObject();
  EXPECT_EQ(std::move(json).Take(), "{\"a\":[1,\"x\\\"\\u000a\xef\xbf\xbd\"],\"b\":null,\"c\":{}}");
}

}  // namespace
}  // namespace msb
