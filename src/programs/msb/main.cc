// SPDX-License-Identifier: Apache-2.0
// msb: the command line. Also called msx, msr and msi, by the name it was started under.

#include <signal.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "programs/msb/commands.h"
#include "programs/msb/parse.h"
#include "programs/msb/ui.h"
#include "sys/process.h"

namespace msb::cli {

namespace {

bool AsksVersion(int argc, char** argv) {
  if (argc != 2) return false;
  std::string_view word = argv[1];
  return word == "version" || word == "--version" || word == "-V";
}

struct Run {
  int operator()(const ExeOptions& o) const { return RunExe(o); }
  int operator()(const ExecOptions& o) const { return RunExec(o); }
  int operator()(const ShellOptions& o) const { return RunShell(o); }
  int operator()(const PsOptions& o) const { return RunPs(o); }
  int operator()(const InspectOptions& o) const { return RunInspect(o); }
  int operator()(const LogsOptions& o) const { return RunLogs(o); }
  int operator()(const StopOptions& o) const { return RunStop(o); }
  int operator()(const KillOptions& o) const { return RunKill(o); }
  int operator()(const RmOptions& o) const { return RunRm(o); }
  int operator()(const ImageImportOptions& o) const { return RunImageImport(o); }
  int operator()(const ImageListOptions& o) const { return RunImageList(o); }
  int operator()(const ImageRemoveOptions& o) const { return RunImageRemove(o); }
  int operator()(const ImageResolveOptions& o) const { return RunImageResolve(o); }
  int operator()(const DoctorOptions& o) const { return RunDoctor(o); }
  int operator()(const GcOptions& o) const { return RunGc(o); }
  int operator()(const VersionOptions& o) const { return RunVersion(o); }
  int operator()(const CompletionOptions& o) const { return RunCompletion(o); }
  int operator()(const BenchStartOptions& o) const { return RunBenchStart(o); }
  int operator()(const HelpOptions& o) const { return RunHelp(o); }
};

int Main(int argc, char** argv) {
  if (!sys::OpenStandardDescriptors()) ::_exit(kExitNotStarted);
  // Writes say EPIPE; who wants to end by the signal does it himself.
  ::signal(SIGPIPE, SIG_IGN);
  std::vector<std::string> arguments(argv + std::min(argc, 1), argv + argc);
  std::string_view self = argc > 0 ? argv[0] : "msb";
  self = self.substr(self.rfind('/') + 1);
  if (self == "msx") arguments.insert(arguments.begin(), "exe");
  if (self == "msr") arguments.insert(arguments.begin(), "run");
  if (self == "msi") arguments.insert(arguments.begin(), "install");
  auto line = ParseArguments(arguments);
  if (!line) {
    bool json = false;
    for (const std::string& word : arguments) {
      if (word == "--") break;
      json = json || word == "--json";
    }
    return Fail(line.error(), json ? Format::kJson : Format::kText, kExitNotStarted);
  }
  SetLogging({.level = line->log_level, .fd = 2, .json = !IsTerminal(2)});
  return std::visit(Run{}, line->command);
}

}  // namespace

}  // namespace msb::cli

int main(int argc, char** argv) {
  // Before everything else: what it costs is what every script's check of us costs.
  if (msb::cli::AsksVersion(argc, argv)) {
    constexpr char kVersion[] = "msb " MSB_VERSION "\n";
    return ::write(1, kVersion, sizeof kVersion - 1) == sizeof kVersion - 1 ? 0 : 1;
  }
  return msb::cli::Main(argc, argv);
}
