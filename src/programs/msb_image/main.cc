// SPDX-License-Identifier: Apache-2.0
// msb-image: makes images. Started by msb when the store cannot answer, or by hand.
#include <signal.h>
#include <unistd.h>

#include <algorithm>

#include "programs/msb_image/arguments.h"
#include "programs/msb_image/import.h"
#include "programs/msb_image/report.h"
#include "programs/msb_image/unpack.h"
#include "programs/msb_image/unpack_tree.h"
#include "sys/file.h"

namespace msb::image_program {
namespace {

constexpr int kFailed = 125;  // "Before the command started", as everywhere in msb.

int Print(std::string_view text) {
  auto written = sys::WriteAll(BorrowedFd::Raw(STDOUT_FILENO), text);
  if (written) return 0;
  PrintError(std::move(written).Context("stdout").error());
  return kFailed;
}

// Dies of the signal that interrupted us, so that a calling shell sees what happened.
[[noreturn]] void DieOf(int signal) {
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, signal);
  ::signal(signal, SIG_DFL);
  ::raise(signal);
  ::sigprocmask(SIG_UNBLOCK, &set, nullptr);
  ::_exit(128 + signal);
}

int Run(const ImportOptions& options) {
  auto outcome = Import(options);
  if (!outcome) {
    PrintError(outcome.error(), options.json ? ErrorFormat::kJson : ErrorFormat::kText);
    return kFailed;
  }
  if (outcome->signal != 0) DieOf(outcome->signal);
  return Print(outcome->output);
}

int Run(const UnpackOptions& options) {
  auto summary = Unpack(options);
  int printed = Print(WriteReport(summary));
  return summary ? printed : kFailed;
}

int Run(const UnpackTreeOptions& options) {
  auto summary = UnpackTree(options);
  if (summary) return Print(*summary);
  (void)Print(WriteReport(std::move(summary).error()));
  return kFailed;
}

int Run(const ShowText& show) { return Print(show.text); }

int Main(std::span<const std::string> arguments) {
  auto command = ParseArguments(arguments);
  if (!command) {
    auto end = std::find(arguments.begin(), arguments.end(), "--");
    bool json = std::find(arguments.begin(), end, "--json") != end;
    PrintError(command.error(), json ? ErrorFormat::kJson : ErrorFormat::kText);
    return kFailed;
  }
  return std::visit([](const auto& options) { return Run(options); }, *command);
}

}  // namespace
}  // namespace msb::image_program

int main(int argc, char** argv) {
  std::vector<std::string> arguments(argv + (argc > 0 ? 1 : 0), argv + argc);
  return msb::image_program::Main(arguments);
}
