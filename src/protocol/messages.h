// SPDX-License-Identifier: Apache-2.0
// Bodies of the frames that are not raw bytes. Every Parse takes untrusted bytes, refuses anything
// over its limit or left over at the end, and does no I/O.

#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace msb::protocol {

inline constexpr uint32_t kMagic = 0x3142534d;  // "MSB1" as it stands in memory.
inline constexpr uint16_t kVersion = 1;

using Bytes = std::vector<std::byte>;
using ByteSpan = std::span<const std::byte>;

// A mark of the boot: what was reached, and when on the guest's clock.
struct BootStage {
  std::string name;          // "kernel", "init", "root mounted", "hello"; at most 32 bytes.
  uint64_t nanoseconds = 0;  // Since the guest's counter began (TSC reset).

  bool operator==(const BootStage&) const = default;
};

// First frame of each side on each connection.
struct Hello {
  uint16_t version = kVersion;
  // Counts connections of one machine: the host picks it, the agent repeats it. 0 from an agent
  // that has not been told yet.
  uint64_t epoch = 0;
  std::string release;            // Agent: uname release; at most 128 bytes. Host: empty.
  std::vector<BootStage> stages;  // Agent, at most 16. Host: none.

  bool operator==(const Hello&) const = default;
};
Bytes Encode(const Hello& hello);
Result<Hello> ParseHello(ByteSpan body);

struct MachineConfig {
  std::string hostname;     // At most 64 bytes.
  int64_t realtime_ns = 0;  // CLOCK_REALTIME of the host when sent.
  std::string entropy;      // Bytes for the guest's random pool, at most 64.
  std::string resolv_conf;  // Content of /etc/resolv.conf; empty: leave the image's. At most 4 KiB.

  bool operator==(const MachineConfig&) const = default;
};
Bytes Encode(const MachineConfig& config);
Result<MachineConfig> ParseMachineConfig(ByteSpan body);

struct TerminalSize {
  uint16_t rows = 24;
  uint16_t columns = 80;

  bool operator==(const TerminalSize&) const = default;
};
Bytes Encode(const TerminalSize& size);
Result<TerminalSize> ParseTerminalSize(ByteSpan body);

// What to run. Must fit one frame; the limits leave room for 24 KiB of arguments and environment.
struct ExecSpec {
  std::vector<std::string> argv;  // 1 to 1024; no NUL.
  std::vector<std::string> env;   // KEY=VALUE, at most 1024. The agent adds PATH, HOME, USER, TERM
                                  // where they are missing.
  std::string workdir;            // Empty: "/". Absolute.
  std::string user;               // "", "name", "uid", "name:group", "uid:gid"; from the image's
                                  // passwd and group files. Empty: root.
  bool terminal = false;          // A pty instead of pipes: fd 1 carries everything.
  bool stdin_open = false;        // false: /dev/null.
  TerminalSize size;

  bool operator==(const ExecSpec&) const = default;
};
Bytes Encode(const ExecSpec& spec);
Result<ExecSpec> ParseExecSpec(ByteSpan body);
// kInvalidArgument with the remedy when the spec cannot be sent (too long, NUL inside, bad env).
Result<void> CheckExecSpec(const ExecSpec& spec);

struct ExecStarted {
  uint32_t pid = 0;

  bool operator==(const ExecStarted&) const = default;
};
Bytes Encode(const ExecStarted& started);
Result<ExecStarted> ParseExecStarted(ByteSpan body);

enum class FailReason : uint8_t {
  kCommandNotFound = 1,  // Exit code 127.
  kNotExecutable = 2,    // Exit code 126.
  kUnknownUser = 3,      // This and the following: 125.
  kBadWorkdir = 4,
  kResources = 5,
  kInternal = 6,
};
struct ExecFailed {
  FailReason reason = FailReason::kInternal;
  int32_t error = 0;    // errno in the guest, Linux numbers.
  std::string message;  // At most 512 bytes, from the guest: escape before showing.

  bool operator==(const ExecFailed&) const = default;
};
Bytes Encode(const ExecFailed& failed);
Result<ExecFailed> ParseExecFailed(ByteSpan body);

enum class ExitKind : uint8_t { kExited = 1, kSignaled = 2, kOutOfMemory = 3 };
struct ExecExit {
  ExitKind kind = ExitKind::kExited;
  int32_t code = 0;               // Exit code 0..255, or the signal's number.
  uint64_t spawn_to_exit_ns = 0;  // From the agent's clone to its wait.
  uint64_t cpu_user_ns = 0;       // Of the exec's whole cgroup.
  uint64_t cpu_system_ns = 0;
  uint64_t peak_memory_bytes = 0;  // 0: unknown.

  bool operator==(const ExecExit&) const = default;
};
Bytes Encode(const ExecExit& exit);
Result<ExecExit> ParseExecExit(ByteSpan body);

// An Error on the wire.
struct ErrorBody {
  uint8_t code = 0;     // msb::Code.
  std::string message;  // At most 4 KiB each.
  std::string remedy;

  bool operator==(const ErrorBody&) const = default;
};
Bytes Encode(const ErrorBody& error);
Result<ErrorBody> ParseErrorBody(ByteSpan body);
ErrorBody ToBody(const Error& error);
Error ToError(const ErrorBody& body);

// Bodies of one number: kSignal and kStop (u32), kCredit (u64).
Bytes EncodeU32(uint32_t value);
Result<uint32_t> ParseU32(ByteSpan body);
Bytes EncodeU64(uint64_t value);
Result<uint64_t> ParseU64(ByteSpan body);

}  // namespace msb::protocol
