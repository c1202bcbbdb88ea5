// SPDX-License-Identifier: Apache-2.0
// The bodies that are not raw bytes, field by field in the order of their structs.
// schema/README.md has the layouts as tables.

#include "protocol/messages.h"

#include <algorithm>

#include "base/bytes.h"
#include "base/text.h"
#include "protocol/frame.h"

namespace msb::protocol {
namespace {

constexpr size_t kMaxRelease = 128;
constexpr size_t kMaxStages = 16;
constexpr size_t kMaxStageName = 32;
constexpr size_t kMaxHostname = 64;
constexpr size_t kMaxEntropy = 64;
constexpr size_t kMaxResolvConf = 4096;
constexpr size_t kMaxStrings = 1024;
constexpr size_t kMaxPath = 4096;
constexpr size_t kMaxUser = 256;
constexpr size_t kMaxFailText = 512;
constexpr size_t kMaxErrorText = 4096;

constexpr uint8_t kFlagTerminal = 1;
constexpr uint8_t kFlagStdin = 2;

// Texts of our own making are cut to their limit: an over-long message must not cost the answer.
std::string_view Cut(std::string_view text, size_t limit) { return text.substr(0, limit); }

// A 16-bit length, then the bytes: arguments are many and short, and share one frame.
void PutShortText(ByteWriter& out, std::string_view text) {
  out.Number(static_cast<uint16_t>(text.size()));
  out.Bytes(AsBytes(text));
}

Result<std::string> ShortText(ByteReader& in, size_t limit) {
  auto length = TRY(in.Number<uint16_t>());
  if (length > limit)
    return Error(Code::kInvalidArgument, Cat("text of ", length, " bytes, limit ", limit));
  return std::string(AsText(TRY(in.Bytes(length))));
}

void PutStrings(ByteWriter& out, const std::vector<std::string>& strings) {
  out.Number(static_cast<uint16_t>(strings.size()));
  for (const auto& text : strings) PutShortText(out, text);
}

Result<std::vector<std::string>> Strings(ByteReader& in) {
  auto count = TRY(in.Number<uint16_t>());
  if (count > kMaxStrings)
    return Error(Code::kInvalidArgument, Cat(count, " strings, limit ", kMaxStrings));
  std::vector<std::string> strings;
  for (uint16_t i = 0; i < count; ++i) strings.push_back(TRY(ShortText(in, kMaxBody)));
  return strings;
}

bool HasNul(std::string_view text) { return text.find('\0') != std::string_view::npos; }

Error Refused(std::string_view what, std::string_view remedy) {
  return Error(Code::kInvalidArgument, std::string(what)).Remedy(remedy);
}

Result<void> CheckStrings(const ExecSpec& spec) {
  if (spec.argv.empty()) return Refused("no command", "name the command to run");
  if (spec.argv.size() > kMaxStrings)
    return Refused(Cat(spec.argv.size(), " arguments, limit ", kMaxStrings),
                   "put the arguments in a file");
  if (spec.env.size() > kMaxStrings)
    return Refused(Cat(spec.env.size(), " environment variables, limit ", kMaxStrings),
                   "pass fewer variables");
  if (std::any_of(spec.argv.begin(), spec.argv.end(), HasNul))
    return Refused("an argument holds a NUL byte", "pass binary data on stdin");
  for (const auto& entry : spec.env) {
    auto equals = entry.find('=');
    if (HasNul(entry) || equals == std::string::npos || equals == 0)
      return Refused(Cat("environment entry \"", Escape(entry, 64), "\" is not KEY=VALUE"),
                     "write KEY=VALUE");
  }
  return {};
}

}  // namespace

Bytes Encode(const Hello& hello) {
  ByteWriter out;
  out.Number(kMagic);
  out.Number(hello.version);
  out.Number(hello.epoch);
  out.Text(Cut(hello.release, kMaxRelease));
  size_t count = std::min(hello.stages.size(), kMaxStages);
  out.Number(static_cast<uint8_t>(count));
  for (size_t i = 0; i < count; ++i) {
    out.Text(Cut(hello.stages[i].name, kMaxStageName));
    out.Number(hello.stages[i].nanoseconds);
  }
  return std::move(out).Take();
}

Result<Hello> ParseHello(ByteSpan body) {
  ByteReader in(body);
  Hello hello;
  if (TRY(in.Number<uint32_t>()) != kMagic)
    return Error(Code::kInvalidArgument, "hello without the magic number");
  hello.version = TRY(in.Number<uint16_t>());
  if (hello.version != kVersion)
    return Error(Code::kFailedPrecondition,
                 Cat("the peer speaks protocol version ", hello.version, ", this side ", kVersion))
        .Remedy("use msb and guest files of one version");
  hello.epoch = TRY(in.Number<uint64_t>());
  hello.release = TRY(in.Text(kMaxRelease));
  auto count = TRY(in.Number<uint8_t>());
  if (count > kMaxStages) return Error(Code::kInvalidArgument, Cat(count, " boot stages"));
  for (uint8_t i = 0; i < count; ++i) {
    BootStage stage;
    stage.name = TRY(in.Text(kMaxStageName));
    stage.nanoseconds = TRY(in.Number<uint64_t>());
    hello.stages.push_back(std::move(stage));
  }
  TRY(in.End());
  return hello;
}

Bytes Encode(const MachineConfig& config) {
  ByteWriter out;
  out.Text(config.hostname);
  out.Number(config.realtime_ns);
  out.Text(config.entropy);
  out.Text(config.resolv_conf);
  return std::move(out).Take();
}

Result<MachineConfig> ParseMachineConfig(ByteSpan body) {
  ByteReader in(body);
  MachineConfig config;
  config.hostname = TRY(in.Text(kMaxHostname));
  config.realtime_ns = TRY(in.Number<int64_t>());
  config.entropy = TRY(in.Text(kMaxEntropy));
  config.resolv_conf = TRY(in.Text(kMaxResolvConf));
  TRY(in.End());
  return config;
}

Bytes Encode(const TerminalSize& size) {
  ByteWriter out;
  out.Number(size.rows);
  out.Number(size.columns);
  return std::move(out).Take();
}

Result<TerminalSize> ParseTerminalSize(ByteSpan body) {
  ByteReader in(body);
  TerminalSize size;
  size.rows = TRY(in.Number<uint16_t>());
  size.columns = TRY(in.Number<uint16_t>());
  TRY(in.End());
  return size;
}

Bytes Encode(const ExecSpec& spec) {
  ByteWriter out;
  PutStrings(out, spec.argv);
  PutStrings(out, spec.env);
  PutShortText(out, spec.workdir);
  PutShortText(out, spec.user);
  out.Number(static_cast<uint8_t>((spec.terminal ? kFlagTerminal : 0) |
                                  (spec.stdin_open ? kFlagStdin : 0)));
  out.Number(spec.size.rows);
  out.Number(spec.size.columns);
  return std::move(out).Take();
}

Result<ExecSpec> ParseExecSpec(ByteSpan body) {
  ByteReader in(body);
  ExecSpec spec;
  spec.argv = TRY(Strings(in));
  spec.env = TRY(Strings(in));
  spec.workdir = TRY(ShortText(in, kMaxPath));
  spec.user = TRY(ShortText(in, kMaxUser));
  auto flags = TRY(in.Number<uint8_t>());
  if ((flags & ~(kFlagTerminal | kFlagStdin)) != 0)
    return Error(Code::kInvalidArgument, Cat("unknown exec flags ", flags));
  spec.terminal = (flags & kFlagTerminal) != 0;
  spec.stdin_open = (flags & kFlagStdin) != 0;
  spec.size.rows = TRY(in.Number<uint16_t>());
  spec.size.columns = TRY(in.Number<uint16_t>());
  TRY(in.End());
  TRY(CheckExecSpec(spec));
  return spec;
}

Result<void> CheckExecSpec(const ExecSpec& spec) {
  TRY(CheckStrings(spec));
  if (!spec.workdir.empty() && spec.workdir[0] != '/')
    return Refused(Cat("working directory \"", Escape(spec.workdir, 64), "\" is not absolute"),
                   "begin it with a slash");
  if (spec.workdir.size() > kMaxPath || HasNul(spec.workdir))
    return Refused("the working directory is too long or holds a NUL byte",
                   "use a path of at most 4096 bytes");
  if (spec.user.size() > kMaxUser || HasNul(spec.user))
    return Refused("the user is too long or holds a NUL byte", "use a name of at most 256 bytes");
  // Counters of both lists, workdir, user, flags, terminal size.
  size_t size = 2 + 2 + 2 + spec.workdir.size() + 2 + spec.user.size() + 1 + 4;
  for (const auto& text : spec.argv) size += 2 + text.size();
  for (const auto& text : spec.env) size += 2 + text.size();
  if (size > kMaxBody)
    return Refused(Cat("arguments and environment take ", size, " bytes, limit ", kMaxBody),
                   "pass long data on stdin or in a file");
  return {};
}

Bytes Encode(const ExecStarted& started) { return EncodeU32(started.pid); }

Result<ExecStarted> ParseExecStarted(ByteSpan body) {
  return ExecStarted{.pid = TRY(ParseU32(body))};
}

Bytes Encode(const ExecFailed& failed) {
  ByteWriter out;
  out.Number(static_cast<uint8_t>(failed.reason));
  out.Number(failed.error);
  out.Text(Cut(failed.message, kMaxFailText));
  return std::move(out).Take();
}

Result<ExecFailed> ParseExecFailed(ByteSpan body) {
  ByteReader in(body);
  ExecFailed failed;
  auto reason = TRY(in.Number<uint8_t>());
  if (reason < static_cast<uint8_t>(FailReason::kCommandNotFound) ||
      reason > static_cast<uint8_t>(FailReason::kInternal))
    return Error(Code::kInvalidArgument, Cat("unknown reason ", reason, " of a failed exec"));
  failed.reason = static_cast<FailReason>(reason);
  failed.error = TRY(in.Number<int32_t>());
  failed.message = TRY(in.Text(kMaxFailText));
  TRY(in.End());
  return failed;
}

Bytes Encode(const ExecExit& exit) {
  ByteWriter out;
  out.Number(static_cast<uint8_t>(exit.kind));
  out.Number(exit.code);
  out.Number(exit.spawn_to_exit_ns);
  out.Number(exit.cpu_user_ns);
  out.Number(exit.cpu_system_ns);
  out.Number(exit.peak_memory_bytes);
  return std::move(out).Take();
}

Result<ExecExit> ParseExecExit(ByteSpan body) {
  ByteReader in(body);
  ExecExit exit;
  auto kind = TRY(in.Number<uint8_t>());
  if (kind < static_cast<uint8_t>(ExitKind::kExited) ||
      kind > static_cast<uint8_t>(ExitKind::kOutOfMemory))
    return Error(Code::kInvalidArgument, Cat("unknown kind ", kind, " of an exit"));
  exit.kind = static_cast<ExitKind>(kind);
  exit.code = TRY(in.Number<int32_t>());
  // The code becomes an exit code of msb: 0 to 255, or 128 plus a signal.
  if (exit.code < 0 || exit.code > (exit.kind == ExitKind::kExited ? 255 : 127))
    return Error(Code::kInvalidArgument, Cat("exit code ", exit.code));
  exit.spawn_to_exit_ns = TRY(in.Number<uint64_t>());
  exit.cpu_user_ns = TRY(in.Number<uint64_t>());
  exit.cpu_system_ns = TRY(in.Number<uint64_t>());
  exit.peak_memory_bytes = TRY(in.Number<uint64_t>());
  TRY(in.End());
  return exit;
}

Bytes Encode(const ErrorBody& error) {
  ByteWriter out;
  out.Number(error.code);
  out.Text(Cut(error.message, kMaxErrorText));
  out.Text(Cut(error.remedy, kMaxErrorText));
  return std::move(out).Take();
}

Result<ErrorBody> ParseErrorBody(ByteSpan body) {
  ByteReader in(body);
  ErrorBody error;
  error.code = TRY(in.Number<uint8_t>());
  if (error.code > static_cast<uint8_t>(Code::kInternal))
    return Error(Code::kInvalidArgument, Cat("unknown error code ", error.code));
  error.message = TRY(in.Text(kMaxErrorText));
  error.remedy = TRY(in.Text(kMaxErrorText));
  TRY(in.End());
  return error;
}

ErrorBody ToBody(const Error& error) {
  return {.code = static_cast<uint8_t>(error.code()),
          .message = error.message(),
          .remedy = error.remedy()};
}

Error ToError(const ErrorBody& body) {
  auto code = body.code <= static_cast<uint8_t>(Code::kInternal) ? static_cast<Code>(body.code)
                                                                 : Code::kInternal;
  Error error(code, body.message);
  if (body.remedy.empty()) return error;
  return std::move(error).Remedy(body.remedy);
}

Bytes EncodeU32(uint32_t value) {
  ByteWriter out;
  out.Number(value);
  return std::move(out).Take();
}

Result<uint32_t> ParseU32(ByteSpan body) {
  ByteReader in(body);
  auto value = TRY(in.Number<uint32_t>());
  TRY(in.End());
  return value;
}

Bytes EncodeU64(uint64_t value) {
  ByteWriter out;
  out.Number(value);
  return std::move(out).Take();
}

Result<uint64_t> ParseU64(ByteSpan body) {
  ByteReader in(body);
  auto value = TRY(in.Number<uint64_t>());
  TRY(in.End());
  return value;
}

}  // namespace msb::protocol
