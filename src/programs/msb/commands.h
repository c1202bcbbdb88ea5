// SPDX-License-Identifier: Apache-2.0
// The table of commands, and the functions that are them: each takes its options and returns the
// exit code of the program.

#pragma once

#include <span>
#include <string_view>

#include "programs/msb/options.h"

namespace msb::cli {

struct CommandInfo {
  std::string_view name;     // "exe", "image import"
  std::string_view aliases;  // Separated by spaces.
  std::string_view operands;
  std::string_view summary;
  std::string_view examples;  // Lines.
};
std::span<const CommandInfo> Commands();
// By name or alias; nullptr when there is none.
const CommandInfo* FindCommand(std::string_view name);
// What the word is, when it is a command of the seed that this version does not have.
bool IsLaterCommand(std::string_view name);

int RunExe(const ExeOptions& options);
int RunExec(const ExecOptions& options);
int RunShell(const ShellOptions& options);
int RunPs(const PsOptions& options);
int RunInspect(const InspectOptions& options);
int RunLogs(const LogsOptions& options);
int RunStop(const StopOptions& options);
int RunKill(const KillOptions& options);
int RunRm(const RmOptions& options);
int RunImageImport(const ImageImportOptions& options);
int RunImageList(const ImageListOptions& options);
int RunImageRemove(const ImageRemoveOptions& options);
int RunImageResolve(const ImageResolveOptions& options);
int RunDoctor(const DoctorOptions& options);
int RunGc(const GcOptions& options);
int RunVersion(const VersionOptions& options);
int RunCompletion(const CompletionOptions& options);
int RunBenchStart(const BenchStartOptions& options);
int RunHelp(const HelpOptions& options);

}  // namespace msb::cli
