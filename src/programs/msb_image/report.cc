// SPDX-License-Identifier: Apache-2.0
// The report's field tables, and errors for people.
#include "programs/msb_image/report.h"

#include <unistd.h>

#include <algorithm>

#include "base/json_writer.h"
#include "base/text.h"
#include "json/codec.h"
#include "sys/file.h"

namespace msb::image_program {
namespace {

struct ErrorText {
  Code code = Code::kInternal;
  std::string message, remedy;
  int32_t sys_errno = 0;
};

struct Report {
  std::optional<rootfs::RootDiskSummary> summary;
  std::optional<ErrorText> error;
};

// Our own messages are escaped already and pass as they are; what holds a control character is not
// ours.
std::string ForTerminal(const std::string& text) {
  bool clean = std::all_of(text.begin(), text.end(), [](char c) {
    return static_cast<unsigned char>(c) >= 0x20 && c != 0x7f;
  });
  return clean ? text : Escape(text, 4096);
}

}  // namespace
}  // namespace msb::image_program

namespace msb::json {

template <>
struct Codec<Code> {
  static constexpr Code kLast = Code::kInternal;
  static Result<void> Read(const Value& value, Code& into) {
    std::string text = TRY(value.String());
    for (int i = 0; i <= static_cast<int>(kLast); ++i) {
      if (CodeName(static_cast<Code>(i)) != text) continue;
      into = static_cast<Code>(i);
      return {};
    }
    return value.Complaint("unknown code");
  }
  static void Write(Code from, JsonWriter& out) { out.String(CodeName(from)); }
};

template <>
struct Fields<rootfs::RootDiskSummary> {
  using T = rootfs::RootDiskSummary;
  static constexpr auto kTable =
      std::array{Required<&T::image_bytes>("image_bytes"),
                 Required<&T::input_bytes>("input_bytes"),
                 Required<&T::files>("files"),
                 Required<&T::directories>("directories"),
                 Required<&T::symlinks>("symlinks"),
                 Required<&T::special_files>("special_files"),
                 Required<&T::extra_hard_links>("extra_hard_links"),
                 Required<&T::overwritten_bytes>("overwritten_bytes"),
                 Required<&T::dropped_xattrs>("dropped_xattrs"),
                 Required<&T::first_dropped_xattr>("first_dropped_xattr")};
};

template <>
struct Fields<image_program::ErrorText> {
  using T = image_program::ErrorText;
  static constexpr auto kTable =
      std::array{Required<&T::code>("code"), Required<&T::message>("message"),
                 Required<&T::remedy>("remedy"), Required<&T::sys_errno>("errno")};
};

template <>
struct Fields<image_program::Report> {
  using T = image_program::Report;
  static constexpr auto kTable =
      std::array{Optional<&T::summary>("summary"), Optional<&T::error>("error")};
};

}  // namespace msb::json

namespace msb::image_program {

std::string WriteReport(const Result<rootfs::RootDiskSummary>& result) {
  Report report;
  if (result)
    report.summary = *result;
  else
    report.error = ErrorText{.code = result.error().code(),
                             .message = result.error().message(),
                             .remedy = result.error().remedy(),
                             .sys_errno = result.error().sys_errno()};
  return json::Encode(report) + "\n";
}

Result<rootfs::RootDiskSummary> ReadReport(std::string_view text) {
  auto report = json::Decode<Report>(text);
  if (!report) return std::move(report).Context("report of the unpacker").error();
  if (report->summary) return *std::move(report->summary);
  if (!report->error) return Error(Code::kInternal, "report of the unpacker: is empty");
  const ErrorText& error = *report->error;
  return Error(error.code, ForTerminal(error.message)).Remedy(ForTerminal(error.remedy));
}

std::string FormatError(const Error& error, ErrorFormat format) {
  if (format == ErrorFormat::kJson) return ErrorJson(error);
  std::string text = Cat("msb-image: ", error.message(), " [", CodeName(error.code()), "]\n");
  if (!error.remedy().empty()) text += Cat("  fix: ", error.remedy(), "\n");
  return text;
}

void PrintError(const Error& error, ErrorFormat format) {
  // One write, so that the lines of two programs on one terminal do not mix.
  (void)sys::WriteAll(BorrowedFd::Raw(STDERR_FILENO), FormatError(error, format));
}

}  // namespace msb::image_program
