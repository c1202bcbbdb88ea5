// SPDX-License-Identifier: Apache-2.0
// What a command line says, as plain data: one struct a command. parse.cc fills them; the commands
// never see how.

#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/log.h"
#include "base/units.h"
#include "sandbox/spec.h"

namespace msb::cli {

enum class TerminalMode : uint8_t { kAuto, kAlways, kNever };

// What every command that runs a program in a guest shares.
struct ProgramOptions {
  std::vector<std::string> command;  // Empty: what the image or the command says.
  std::vector<std::string> env;      // "K=V", or "K": the caller's value, nothing when unset.
  std::optional<std::string> workdir;
  std::optional<std::string> user;
  TerminalMode terminal = TerminalMode::kAuto;
  bool no_stdin = false;
  std::optional<int> status_fd;
  bool quiet = false;
  bool json = false;
};

struct ExeOptions {
  std::string image;                  // Empty only with rootfs.
  std::optional<std::string> rootfs;  // Directory or tar.
  ProgramOptions program;
  std::string name;
  bool detach = false;
  uint32_t cpus = 1;
  uint64_t memory_bytes = kGiB;
  uint64_t storage_bytes = 512 * kMiB;
  std::optional<std::chrono::milliseconds> timeout;
  std::string hostname;
  std::optional<sandbox::Isolation> isolation;
  std::optional<sandbox::Isolation> required;
  bool require_limits = false;
  std::string cgroup;  // Of the user's own; empty: found.
  bool debug_console = false;
};

struct ExecOptions {
  std::string sandbox;
  ProgramOptions program;
};

struct ShellOptions {
  std::string sandbox;
  ProgramOptions program;
};

struct PsOptions {
  bool all = false;
  bool quiet = false;  // Names only, or ids where there is no name.
  bool json = false;
};

struct InspectOptions {
  std::vector<std::string> sandboxes;
  bool walls = false;  // For people, and only what is in force.
  bool json = false;   // Errors too.
};

struct LogsOptions {
  std::string sandbox;
  bool follow = false;
  bool console = false;
  std::optional<uint64_t> tail;
};

struct StopOptions {
  std::vector<std::string> sandboxes;
  std::chrono::milliseconds grace = std::chrono::seconds(10);
  bool json = false;
};

struct KillOptions {
  std::vector<std::string> sandboxes;
  bool json = false;
};

struct RmOptions {
  std::vector<std::string> sandboxes;
  bool force = false;
  bool json = false;
};

struct ImageImportOptions {
  std::vector<std::string> arguments;  // As msb-image takes them.
};

struct ImageListOptions {
  bool quiet = false;
  bool json = false;
};

struct ImageRemoveOptions {
  std::vector<std::string> images;
  bool json = false;
};

struct ImageResolveOptions {
  std::string image;
  bool json = false;
};

struct DoctorOptions {
  bool json = false;
};

struct GcOptions {
  bool json = false;
};

struct VersionOptions {
  bool json = false;
};

struct CompletionOptions {
  std::string shell;
};

struct BenchStartOptions {
  std::string image = "microsandbox/python";
  std::vector<std::string> command;
  uint32_t runs = 20;
  uint32_t cpus = 1;
  uint64_t memory_bytes = 256 * kMiB;
  std::optional<sandbox::Isolation> isolation;
  bool cold = false;  // Drops what the run reads from the page cache before each run.
  bool json = false;
};

// `msb`, `msb --help`, `msb help COMMAND`, `msb COMMAND --help`.
struct HelpOptions {
  std::string command;
};

using Command =
    std::variant<ExeOptions, ExecOptions, ShellOptions, PsOptions, InspectOptions, LogsOptions,
                 StopOptions, KillOptions, RmOptions, ImageImportOptions, ImageListOptions,
                 ImageRemoveOptions, ImageResolveOptions, DoctorOptions, GcOptions, VersionOptions,
                 CompletionOptions, BenchStartOptions, HelpOptions>;

struct CommandLine {
  Command command;
  LogLevel log_level = LogLevel::kWarn;
};

}  // namespace msb::cli
