// SPDX-License-Identifier: Apache-2.0
// Runs a program in the jail and says how it went, for the security tests:
//   jail_run [--bind SOURCE[:TARGET]] [--plugin FILE] [--fd FD:NUMBER] [--memory BYTES] [--pids N]
//            [--cgroup NAME] [--fail STEP] [--leak] [--repeat N] [--hold] -- PROGRAM ARG...
// Prints one JSON object on stdout: facts, then how the program ended.

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "base/json_writer.h"
#include "base/text.h"
#include "jail/jail.h"
#include "jail/jail_plan.h"
#include "jail/policies.h"
#include "sys/cgroup.h"

namespace {

using msb::Cat;
using msb::Error;
using msb::Result;
using msb::jail::JailSpec;

struct Options {
  JailSpec spec;
  std::string cgroup;
  uint64_t memory = 0;
  int repeat = 1;
  bool hold = false;
};

[[noreturn]] void Die(const Error& error) {
  std::fprintf(stderr, "jail_run: %s\n", error.message().c_str());
  if (!error.remedy().empty()) std::fprintf(stderr, "remedy: %s\n", error.remedy().c_str());
  std::exit(125);
}

template <class T>
T Must(Result<T> result) {
  if (!result) Die(result.error());
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}

std::pair<std::string, std::string> Halves(const std::string& text) {
  size_t colon = text.find(':');
  if (colon == std::string::npos) return {text, ""};
  return {text.substr(0, colon), text.substr(colon + 1)};
}

Options Parse(int argc, char** argv) {
  Options options;
  JailSpec& spec = options.spec;
  spec.name = "test";
  spec.filter = &msb::jail::kQemuFilter;
  int at = 1;
  for (; at < argc; at++) {
    std::string flag = argv[at];
    if (flag == "--") break;
    if (flag == "--hold") {
      options.hold = true;
      continue;
    }
    if (at + 1 >= argc) Die(Error(msb::Code::kInvalidArgument, Cat("usage: ", flag)));
    std::string value = argv[++at];
    auto [first, second] = Halves(value);
    if (flag == "--bind") {
      spec.binds.push_back({.source = first, .target = second});
    } else if (flag == "--plugin") {
      spec.plugins.push_back(value);
    } else if (flag == "--fd") {
      spec.fds.push_back({std::atoi(first.c_str()), std::atoi(second.c_str())});
    } else if (flag == "--memory") {
      options.memory = std::strtoull(value.c_str(), nullptr, 10);
    } else if (flag == "--pids") {
      spec.limits.pids = static_cast<uint32_t>(std::atoi(value.c_str()));
    } else if (flag == "--cgroup") {
      options.cgroup = value;
    } else if (flag == "--fail") {
      spec.fail_at = static_cast<msb::jail::JailStep>(std::atoi(value.c_str()));
    } else if (flag == "--repeat") {
      options.repeat = std::atoi(value.c_str());
    } else {
      Die(Error(msb::Code::kInvalidArgument, Cat("unknown flag ", flag)));
    }
  }
  for (at++; at < argc; at++) spec.argv.emplace_back(argv[at]);
  if (spec.argv.empty()) Die(Error(msb::Code::kInvalidArgument, "no program"));
  spec.program = spec.argv[0];
  return options;
}

std::string Quoted(const std::vector<std::string>& values) {
  std::string out = "[";
  for (const std::string& value : values) out += Cat(out.size() > 1 ? "," : "", "\"", value, "\"");
  return out + "]";
}

void Drain(int fd) {
  char buffer[4096];
  ssize_t n;
  while ((n = ::read(fd, buffer, sizeof buffer)) > 0) {
    if (::write(2, buffer, static_cast<size_t>(n)) != n) return;
  }
}

}  // namespace

int main(int argc, char** argv) {
  Options options = Parse(argc, argv);
  JailSpec& spec = options.spec;
  spec.stdout_fd = 1;
  spec.limits.memory_bytes = options.memory;

  std::optional<msb::sys::Cgroup> cgroup;
  if (!options.cgroup.empty()) {
    auto host = Must(msb::sys::CgroupHost::Find(""));
    cgroup = Must(msb::sys::Cgroup::Create(
        host, options.cgroup,
        {.memory_bytes = options.memory, .cpu_milli = 1000, .pids = spec.limits.pids}));
    spec.cgroup = &*cgroup;
  }

  std::vector<double> times;
  std::optional<msb::jail::JailedProcess> last;
  msb::jail::JailExit ended{};
  std::optional<Error> failure;
  for (int run = 0; run < options.repeat; run++) {
    auto start = std::chrono::steady_clock::now();
    auto jailed = msb::jail::StartJailed(spec);
    times.push_back(
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
            .count());
    if (!jailed) {
      failure = std::move(jailed).error();
      break;
    }
    last = *std::move(jailed);
    if (options.hold) {
      // What the test kills from outside is this process; the jail must follow.
      ::poll(nullptr, 0, -1);
    }
    ended = Must(msb::jail::ReapJailed(*last));
    Drain(last->stderr_pipe.get());
  }
  if (cgroup) {
    auto usage = cgroup->Usage();
    std::fprintf(stderr, "usage: cpu_ns %llu peak %llu oom %llu\n",
                 static_cast<unsigned long long>(usage.cpu_ns.value_or(0)),
                 static_cast<unsigned long long>(usage.memory_peak_bytes.value_or(0)),
                 static_cast<unsigned long long>(usage.oom_kills.value_or(0)));
    Must(cgroup->Kill());
    Must(cgroup->Remove());
  }
  if (failure) Die(*failure);
  std::sort(times.begin(), times.end());
  const char* how[] = {"exited", "signaled", "killed"};
  std::printf(
      "{\"walls\":%s,\"limits\":%s,\"uid\":%u,\"gid\":%u,\"ids\":\"%s\",\"landlock\":%d,"
      "\"how\":\"%s\",\"value\":%d,\"start_ms\":%.3f,\"start_p95_ms\":%.3f}\n",
      Quoted(last->facts.walls).c_str(), Quoted(last->facts.limits).c_str(), last->facts.uid,
      last->facts.gid, last->facts.ids.c_str(), last->facts.landlock_abi,
      how[static_cast<int>(ended.how)], ended.value, times[times.size() / 2],
      times[times.size() * 95 / 100]);
  return 0;
}
