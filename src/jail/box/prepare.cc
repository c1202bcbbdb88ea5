// SPDX-License-Identifier: Apache-2.0
// Strings first, pointers when no container grows any more.

#include "jail/box/prepare.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <climits>
#include <cstdlib>
#include <ctime>

#include "base/text.h"
#include "jail/policies.h"

namespace msb::box {
namespace {

std::string NoSlash(const std::string& path) {
  size_t begin = path.find_first_not_of('/');
  return begin == std::string::npos ? "" : path.substr(begin);
}

Result<void> PlanBinds(const Spec& spec, Prepared& prepared) {
  if (spec.binds.size() >= kMaxSentTrees)
    return Error(Code::kInvalidArgument, Cat("more than ", kMaxSentTrees - 1, " binds"));
  prepared.targets.reserve(spec.binds.size());
  for (const Bind& bind : spec.binds) {
    struct stat info;
    if (::stat(bind.source.c_str(), &info) == -1)
      return Error::Errno(Cat("bind ", bind.source)).Remedy("name a file or directory of the host");
    prepared.targets.push_back(NoSlash(bind.target));
    prepared.binds.push_back({.source = bind.source.c_str(),
                              .target = prepared.targets.back().c_str(),
                              .directory = S_ISDIR(info.st_mode),
                              .writable = bind.writable,
                              .sent = false});
  }
  return {};
}

void PlanMemories(const Spec& spec, Prepared& prepared) {
  for (const Memory& memory : spec.memories) {
    prepared.memory_targets.push_back(NoSlash(memory.target));
    prepared.memory_sizes.push_back(Cat(memory.bytes));
  }
  for (size_t i = 0; i < spec.memories.size(); i++)
    prepared.memories.push_back(
        {prepared.memory_targets[i].c_str(), prepared.memory_sizes[i].c_str()});
}

// With the host's /lib in an empty root, programs still name their loader /lib64/ld-linux-*: the
// link there leads to the same file by the way that is mounted.
Result<void> PlanLoaderLink(const Spec& spec, Prepared& prepared) {
  if (spec.root != RootKind::kEmpty) return {};
  const Bind* library = nullptr;
  for (const Bind& bind : spec.binds) {
    if (bind.target == "/lib64") return {};
    if (bind.target == "/lib") library = &bind;
  }
  if (library == nullptr) return {};
  constexpr const char* kLoader = "/lib64/ld-linux-x86-64.so.2";
  char loader[PATH_MAX], directory[PATH_MAX];
  if (::realpath(kLoader, loader) == nullptr ||
      ::realpath(library->source.c_str(), directory) == nullptr)
    return {};
  std::string inside = Cat(directory, "/");
  if (!std::string_view(loader).starts_with(inside)) return {};
  prepared.loader_target = Cat("/lib/", std::string_view(loader).substr(inside.size()));
  prepared.links.push_back({"lib64", "ld-linux-x86-64.so.2", prepared.loader_target.c_str()});
  return {};
}

void PlanEtc(const Spec& spec, Prepared& prepared) {
  prepared.hosts =
      Cat("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\t",
          spec.hostname, "\n");
  prepared.hostname_file = Cat(spec.hostname, "\n");
  for (const std::string& server : spec.dns) prepared.resolv += Cat("nameserver ", server, "\n");
  prepared.passwd =
      "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n";
  prepared.group = "root:x:0:\nnogroup:x:65534:\n";
  prepared.files = {{"etc/hosts", prepared.hosts.c_str(), false},
                    {"etc/hostname", prepared.hostname_file.c_str(), false},
                    {"etc/resolv.conf", prepared.resolv.c_str(), false},
                    {"etc/passwd", prepared.passwd.c_str(), true},
                    {"etc/group", prepared.group.c_str(), true}};
}

// Where execvp(3) would look.
void PlanCandidates(const Spec& spec, Prepared& prepared) {
  const std::string& name = spec.argv[0];
  if (name.find('/') != std::string::npos) {
    prepared.candidates.push_back(name);
  } else {
    std::string_view path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    for (const std::string& setting : spec.environment)
      if (setting.starts_with("PATH=")) path = std::string_view(setting).substr(5);
    for (const std::string& directory : Split(path, ':'))
      prepared.candidates.push_back(Cat(directory.empty() ? "." : directory, "/", name));
  }
  for (const std::string& candidate : prepared.candidates)
    prepared.candidate_pointers.push_back(candidate.c_str());
}

Result<void> PlanDescriptors(const Spec& spec, Prepared& prepared) {
  if (spec.keep_fds.size() > kMaxKeptFds - 3)
    return Error(Code::kInvalidArgument, Cat("more than ", kMaxKeptFds - 3, " kept descriptors"));
  prepared.fds = {{spec.streams[0], 0}, {spec.streams[1], 1}, {spec.streams[2], 2}};
  for (int fd : spec.keep_fds) {
    if (fd < 3 || fd > jail::kMaxProgramNumber)
      return Error(Code::kInvalidArgument, Cat("kept descriptor ", fd))
          .Remedy(Cat("numbers from 3 to ", jail::kMaxProgramNumber, " can be kept"));
    if (::fcntl(fd, F_GETFD) == -1) return Error::Errno(Cat("kept descriptor ", fd));
    prepared.fds.push_back({fd, fd});
  }
  return {};
}

// Inside, the machine has just been started: the host's uptime is none of the sandbox's business.
std::string TimeOffsets() {
  timespec monotonic{}, boottime{};
  ::clock_gettime(CLOCK_MONOTONIC, &monotonic);
  ::clock_gettime(CLOCK_BOOTTIME, &boottime);
  return Cat("monotonic -", monotonic.tv_sec, " 0\nboottime -", boottime.tv_sec, " 0\n");
}

}  // namespace

Result<void> Prepare(const Spec& spec, Prepared& prepared) {
  Plan& plan = prepared.plan;
  prepared.doors = TRY(jail::CgroupDoors::Open(spec.cgroup));
  plan.cgroup_doors = prepared.doors.numbers;
  TRY(PlanBinds(spec, prepared));
  PlanMemories(spec, prepared);
  TRY(PlanLoaderLink(spec, prepared));
  if (spec.root != RootKind::kHost) PlanEtc(spec, prepared);
  PlanCandidates(spec, prepared);
  TRY(PlanDescriptors(spec, prepared));
  for (const std::string& word : spec.argv)
    prepared.argv.push_back(const_cast<char*>(word.c_str()));
  prepared.argv.push_back(nullptr);
  for (const std::string& setting : spec.environment)
    prepared.environment.push_back(const_cast<char*>(setting.c_str()));
  prepared.environment.push_back(nullptr);
  prepared.size = Cat(spec.storage_bytes);
  prepared.time_offsets = TimeOffsets();

  plan.root = spec.root;
  plan.root_directory = spec.root_directory.c_str();
  plan.read_only = spec.read_only;
  plan.storage = prepared.size.c_str();
  plan.binds = prepared.binds;
  plan.memories = prepared.memories;
  plan.files = prepared.files;
  plan.links = prepared.links;
  plan.own_network = spec.net == NetMode::kNone;
  plan.makes_network = plan.own_network && spec.network == nullptr;
  plan.own_users = spec.users == UserMode::kIsolated;
  plan.own_time = true;
  plan.time_offsets = prepared.time_offsets.c_str();
  plan.terminal_group = "5";
  plan.hostname = spec.hostname.c_str();
  plan.fds = prepared.fds;
  plan.terminal = spec.terminal.has_value();
  plan.terminal_size = spec.terminal.value_or(winsize{});
  for (size_t i = 0; i < spec.streams.size(); i++)
    plan.terminal_streams[i] = plan.terminal && ::isatty(spec.streams[i]) == 1;
  plan.terminal_fd = -1;
  plan.own_words = spec.own_words;
  plan.command_is_init = spec.command_is_init;
  plan.limits = spec.limits;
  plan.directory = spec.directory.c_str();
  plan.uid = spec.uid;
  plan.gid = spec.gid;
  plan.capabilities = spec.capabilities;
  plan.candidates = prepared.candidate_pointers;
  plan.argv = prepared.argv.data();
  plan.environment = prepared.environment.data();
  plan.filter = spec.filter->code.data();
  plan.filter_length = spec.filter->length;
  plan.listen = spec.on_refusal != OnRefusal::kAnswer;
  plan.init_filter = jail::kBoxInitFilter.code.data();
  plan.init_filter_length = jail::kBoxInitFilter.length;
  plan.passes_signals = true;
  plan.slot_lock = -1;
  return {};
}

}  // namespace msb::box
