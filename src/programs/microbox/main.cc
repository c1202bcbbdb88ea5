// SPDX-License-Identifier: Apache-2.0
// microbox: a command in a process sandbox. Options, limits, start, wait, one exit code.

#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "base/text.h"
#include "jail/box/box.h"
#include "programs/microbox/calls.h"
#include "programs/microbox/doctor.h"
#include "programs/microbox/limits.h"
#include "programs/microbox/network.h"
#include "programs/microbox/notice.h"
#include "programs/microbox/options.h"
#include "programs/microbox/relay.h"
#include "programs/microbox/status.h"
#include "programs/microbox/supervise.h"
#include "sys/file.h"
#include "sys/process.h"

namespace {

using msb::Code;
using msb::Error;
using msb::LogLevel;
using msb::Result;
using msb::microbox::Options;
using msb::microbox::Say;
using msb::microbox::Sockets;

constexpr int kNotStarted = 125, kCannotExecute = 126, kNotFound = 127;

void Tell(const Options& options, const std::string& record) {
  if (options.status_fd) (void)msb::sys::WriteAll(msb::BorrowedFd::Raw(*options.status_fd), record);
}

int Fail(const Options& options, const Error& error, int code) {
  Tell(options, msb::microbox::StatusRecord(error, code));
  Say(options, error);
  return code;
}

struct Started {
  msb::microbox::Signals signals;
  msb::microbox::Relay relay;
  msb::microbox::Network network;
  msb::box::Running running;
};

void TellWhatSharesMemory(const Options& options, const msb::microbox::Limits& limits) {
  const auto& spec = options.spec;
  bool in_memory = spec.root != msb::box::RootKind::kHost && !spec.read_only;
  if (!options.storage_given || !in_memory || !limits.cgroup || !limits.cgroup->LimitsMemory() ||
      spec.storage_bytes <= options.memory_bytes)
    return;
  Say(options, LogLevel::kWarn,
      msb::Cat("--storage ", msb::FormatSize(spec.storage_bytes), " is more than --memory ",
               msb::FormatSize(options.memory_bytes),
               ": what is written lies in memory, and counts there"));
}

// Of one run. Where the host lets them be set while the sandbox starts, they are.
struct RunLimits {
  msb::microbox::LimitsPlace place;
  std::optional<msb::microbox::Limits> made;

  Result<const msb::sys::Cgroup*> Make(const Options& options) {
    if (!made) {
      made = TRY(msb::microbox::SetLimits(options, std::move(place)));
      TellWhatSharesMemory(options, *made);
    }
    return made->cgroup ? &*made->cgroup : nullptr;
  }
};

Result<void> PrepareLimits(Options& options, RunLimits& limits) {
  if (!msb::microbox::IsEnteredLater(limits.place))
    options.spec.cgroup = TRY(limits.Make(options));
  else
    options.spec.make_cgroup = [&] { return limits.Make(options); };
  return {};
}

Result<Started> Start(Options& options, msb::microbox::Calls& calls) {
  auto relay = TRY(msb::microbox::Relay::Make(options.output_limit, options.spec));
  auto signals = TRY(msb::microbox::Signals::Catch());
  auto network = TRY(msb::microbox::Network::Prepare(
      options, calls.opens_sockets() ? Sockets::kMore : Sockets::kPlain));
  auto running = TRY(msb::box::Start(options.spec));
  TRY(network.Begin());
  calls.Begin(std::move(running.listener), !running.has_terminal);
  TRY(relay.Begin(std::move(running.terminal)));
  return Started{std::move(signals), std::move(relay), std::move(network), std::move(running)};
}

int Run(Options& options) {
  auto calls = msb::microbox::Calls::Make(options);
  if (!calls) return Fail(options, calls.error(), kNotStarted);
  RunLimits limits{msb::microbox::FindLimitsPlace(options), {}};
  if (auto prepared = PrepareLimits(options, limits); !prepared)
    return Fail(options, prepared.error(), kNotStarted);
  if (options.spec.users == msb::box::UserMode::kHost)
    Say(options, LogLevel::kWarn,
        "--userns host: root inside is root on this host, with few capabilities");
  if (options.spec.on_refusal == msb::box::OnRefusal::kLearn)
    Say(options, LogLevel::kWarn, "--learn: seccomp is no wall in this run; the others are");
  auto started = Start(options, *calls);
  if (!started) {
    if (limits.made && limits.made->cgroup) (void)limits.made->cgroup->Remove();
    return Fail(options, started.error(), kNotStarted);
  }
  const auto& facts = started->running.facts;
  if (!facts.one_id_because.empty())
    LOG(kWarn, "one id inside: apt, chown to others and images of several users do not work",
        {"because", facts.one_id_because}, {"fix", facts.more_ids_remedy});
  auto ending = msb::microbox::Supervise(options, started->signals, started->running,
                                         {.limits = *limits.made,
                                          .relay = started->relay,
                                          .network = started->network,
                                          .calls = *calls});
  started->network.End();
  const auto& exec_error = started->running.exec_error;
  if (exec_error)
    return Fail(options, *exec_error,
                exec_error->code() == Code::kNotFound ? kNotFound : kCannotExecute);
  auto finished = calls->Finish();
  Tell(options, msb::microbox::StatusRecord(options, started->running.facts,
                                            started->network.facts(), ending, calls->refused()));
  if (!finished) {
    Say(options, finished.error());
    return kNotStarted;
  }
  return ending.code;
}

}  // namespace

int main(int argc, char** argv) {
  if (!msb::sys::OpenStandardDescriptors()) return kNotStarted;
  // Whoever ignores it hands that on, and then the kernel reaps our children itself.
  ::signal(SIGCHLD, SIG_DFL);
  // A reader who is gone, or an init that has just ended, is an error of the write, never our own
  // end: what there is of the sandbox is to be taken away first.
  ::signal(SIGPIPE, SIG_IGN);
  std::vector<std::string_view> words(argv + 1, argv + argc);
  auto options = msb::microbox::ParseOptions(words);
  if (!options) {
    Options said;
    said.log_json = msb::microbox::AsksForJson(words);
    msb::SetLogging({.json = said.log_json});
    return Fail(said, options.error(), kNotStarted);
  }
  options->spec.own_words = std::span(argv[0], argv[argc - 1] + std::strlen(argv[argc - 1]) + 1);
  msb::SetLogging({.level = options->log_level, .json = options->log_json});
  auto print = [](std::string_view text) {
    return msb::sys::WriteAll(msb::BorrowedFd::Raw(1), text).ok() ? 0 : 1;
  };
  if (options->action == Options::Action::kHelp) return print(msb::microbox::HelpText());
  if (options->action == Options::Action::kVersion) return print("microbox " MSB_VERSION "\n");
  if (options->action == Options::Action::kDoctor) {
    auto checks = msb::microbox::Examine(*options);
    bool told = print(options->log_json ? msb::microbox::DoctorJson(checks)
                                        : msb::microbox::DoctorText(checks)) == 0;
    return told && msb::microbox::DefaultWorks(checks) ? 0 : 1;
  }
  return Run(*options);
}
