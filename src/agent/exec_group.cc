// SPDX-License-Identifier: Apache-2.0
// Exec groups by cgroup, and by session or process group where there is none.

#include "agent/exec_group.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <optional>
#include <set>
#include <string_view>

#include "base/text.h"
#include "sys/file.h"

namespace msb::agent {
namespace {

uint64_t Nanoseconds(const timeval& time) {
  return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000 +
         static_cast<uint64_t>(time.tv_usec) * 1000;
}

GroupUsage UsageOf(const struct rusage& reaped) {
  return {.cpu_user_ns = Nanoseconds(reaped.ru_utime),
          .cpu_system_ns = Nanoseconds(reaped.ru_stime),
          .peak_memory_bytes = static_cast<uint64_t>(reaped.ru_maxrss) * 1024};
}

class ProcessGroup final : public ExecGroup {
 public:
  int clone_fd() const override { return -1; }
  void Kill(pid_t pid) override {
    if (pid > 0) ::kill(-pid, SIGKILL);
  }
  GroupUsage Usage(const struct rusage& reaped) const override { return UsageOf(reaped); }
};

class ProcessGroups final : public ExecGroups {
 public:
  Result<std::unique_ptr<ExecGroup>> Take() override {
    return std::unique_ptr<ExecGroup>(std::make_unique<ProcessGroup>());
  }
  void GiveBack(std::unique_ptr<ExecGroup> group) override { group.reset(); }
  void Tidy() override {}
  void Sweep() override {}
  void KillAll() override {}
};

// The number after `key` at the start of a line; 0 when it is not there.
uint64_t FieldOf(std::string_view text, std::string_view key) {
  for (size_t at = 0; at < text.size();) {
    auto line = text.substr(at, text.find('\n', at) - at);
    if (line.size() > key.size() && line.substr(0, key.size()) == key && line[key.size()] == ' ')
      return ParseNumber<uint64_t>(line.substr(key.size() + 1)).value_or(0);
    at += line.size() + 1;
  }
  return 0;
}

// A file of the kernel's that fits 4 KiB, read through a descriptor that was opened ahead.
struct SmallFile {
  std::array<char, 4096> bytes;
  std::string_view Read(const UniqueFd& fd) {
    ssize_t n = fd ? ::pread(fd.get(), bytes.data(), bytes.size(), 0) : -1;
    return {bytes.data(), n > 0 ? static_cast<size_t>(n) : 0};
  }
};

// What Kill() of a session goes by: /proc/PID/stat, proc(5). The name, in parentheses, may hold
// anything.
struct Relations {
  pid_t pid = 0, parent = 0, session = 0;
};

std::optional<Relations> ReadRelations(BorrowedFd proc, const std::string& pid) {
  auto number = ParseNumber<pid_t>(pid);
  if (!number) return std::nullopt;
  auto text = sys::FindFileAt(proc, Cat(pid, "/stat"), 4096);
  if (!text || !*text) return std::nullopt;
  size_t end = (*text)->rfind(')');
  if (end == std::string::npos) return std::nullopt;
  // ") S parent group session"
  auto fields = Split((*text)->substr(end), ' ');
  if (fields.size() < 5) return std::nullopt;
  return Relations{*number, ParseNumber<pid_t>(fields[2]).value_or(0),
                   ParseNumber<pid_t>(fields[4]).value_or(0)};
}

// New children may appear while we look: again, until a look finds nobody new.
constexpr int kKillRounds = 32;

// Everything in the session, and below its processes. All are stopped before the first is killed:
// the child of one that has ended would be PID 1's, and nobody could tell whose it was.
void KillSession(pid_t leader) {
  std::set<pid_t> members{leader};
  ::kill(-leader, SIGSTOP);
  auto proc = sys::OpenAt(sys::Cwd(), "/proc", O_RDONLY | O_DIRECTORY);
  bool found = proc.ok();
  for (int round = 0; found && round < kKillRounds; round++) {
    found = false;
    auto names = sys::ListDirectory(*proc);
    if (!names) break;
    for (const std::string& name : *names) {
      auto one = ReadRelations(*proc, name);
      if (!one || one->pid == 1) continue;
      if (one->session != leader && !members.contains(one->parent)) continue;
      if (!members.insert(one->pid).second) continue;
      ::kill(one->pid, SIGSTOP);
      found = true;
    }
  }
  for (pid_t member : members) ::kill(member, SIGKILL);
  ::kill(-leader, SIGKILL);
}

class SessionGroup final : public ExecGroup {
 public:
  explicit SessionGroup(const UniqueFd& memory_events)
      : memory_events_(memory_events), before_(OomKills()) {}
  int clone_fd() const override { return -1; }
  void Kill(pid_t pid) override {
    if (pid > 0) KillSession(pid);
  }
  GroupUsage Usage(const struct rusage& reaped) const override {
    GroupUsage usage = UsageOf(reaped);
    usage.oom_kills = OomKills() - before_;
    return usage;
  }

 private:
  uint64_t OomKills() const {
    SmallFile file;
    return FieldOf(file.Read(memory_events_), "oom_kill");
  }

  const UniqueFd& memory_events_;
  uint64_t before_;
};

class SessionGroups final : public ExecGroups {
 public:
  explicit SessionGroups(UniqueFd memory_events) : memory_events_(std::move(memory_events)) {}
  Result<std::unique_ptr<ExecGroup>> Take() override {
    return std::unique_ptr<ExecGroup>(std::make_unique<SessionGroup>(memory_events_));
  }
  void GiveBack(std::unique_ptr<ExecGroup> group) override { group.reset(); }
  void Tidy() override {}
  void Sweep() override {}
  void KillAll() override { ::kill(-1, SIGKILL); }

 private:
  UniqueFd memory_events_;
};

class CgroupExec final : public ExecGroup {
 public:
  static Result<std::unique_ptr<CgroupExec>> Create(const UniqueFd& parent, std::string name) {
    TRY(sys::MkdirAt(parent, name, 0755));
    auto group = std::make_unique<CgroupExec>();
    group->dir_ = TRY(sys::OpenAt(parent, name, O_RDONLY | O_DIRECTORY));
    group->name_ = std::move(name);
    // A kernel without a controller lacks its file: that figure is then 0.
    auto open = [&](const char* file) {
      auto fd = sys::OpenAt(group->dir_, file, O_RDONLY);
      return fd.ok() ? *std::move(fd) : UniqueFd();
    };
    group->cpu_ = open("cpu.stat");
    group->peak_ = open("memory.peak");
    group->events_ = open("memory.events");
    return group;
  }

  const std::string& name() const { return name_; }
  int clone_fd() const override { return dir_.get(); }

  void Kill(pid_t pid) override {
    auto fd = sys::OpenAt(dir_, "cgroup.kill", O_WRONLY);
    if (fd.ok() && sys::WriteAll(*fd, "1").ok()) return;
    if (pid > 0) ::kill(-pid, SIGKILL);
  }

  GroupUsage Usage(const struct rusage&) const override {
    GroupUsage usage;
    SmallFile file;
    auto cpu = file.Read(cpu_);
    usage.cpu_user_ns = FieldOf(cpu, "user_usec") * 1000;
    usage.cpu_system_ns = FieldOf(cpu, "system_usec") * 1000;
    auto peak = file.Read(peak_);
    usage.peak_memory_bytes = ParseNumber<uint64_t>(peak.substr(0, peak.find('\n'))).value_or(0);
    usage.oom_kills = FieldOf(file.Read(events_), "oom_kill");
    return usage;
  }

 private:
  std::string name_;
  UniqueFd dir_, cpu_, peak_, events_;
};

// Programs may make cgroups beneath their exec's: this deep they are taken away with it.
constexpr int kMaxNesting = 16;

// Removes the empty cgroups beneath `name`.
void RemoveNested(BorrowedFd parent, const std::string& name, int depth) {
  auto dir = sys::OpenAt(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (!dir.ok()) return;
  auto entries = sys::ListDirectory(*dir);
  if (!entries.ok()) return;
  for (const auto& entry : *entries) {
    if (::unlinkat(dir->get(), entry.c_str(), AT_REMOVEDIR) == 0 || errno == ENOTDIR) continue;
    if (depth == 0) continue;
    RemoveNested(*dir, entry, depth - 1);
    ::unlinkat(dir->get(), entry.c_str(), AT_REMOVEDIR);
  }
}

class Cgroups final : public ExecGroups {
 public:
  explicit Cgroups(UniqueFd sandbox) : sandbox_(std::move(sandbox)) {}

  Result<std::unique_ptr<ExecGroup>> Take() override {
    if (spare_ == nullptr) spare_ = TRY(Make());
    return std::unique_ptr<ExecGroup>(std::move(spare_));
  }

  // Only the name is kept: the descriptors of an exec whose descendants live on are not needed.
  void GiveBack(std::unique_ptr<ExecGroup> group) override {
    retired_.push_back(static_cast<const CgroupExec&>(*group).name());
  }

  void Tidy() override {
    // An rmdir() of a cgroup with processes is EBUSY: it waits for the end of one.
    for (auto& name : retired_)
      if (!Gone(name)) held_.push_back(std::move(name));
    retired_.clear();
    if (spare_ != nullptr) return;
    if (auto made = Make(); made.ok()) spare_ = *std::move(made);
  }

  void Sweep() override {
    std::erase_if(held_, [this](const std::string& name) {
      if (Gone(name)) return true;
      RemoveNested(sandbox_, name, kMaxNesting);
      return Gone(name);
    });
  }

  void KillAll() override {
    auto fd = sys::OpenAt(sandbox_, "cgroup.kill", O_WRONLY);
    if (fd.ok()) (void)sys::WriteAll(*fd, "1");
  }

 private:
  bool Gone(const std::string& name) {
    return ::unlinkat(sandbox_.get(), name.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT;
  }

  Result<std::unique_ptr<CgroupExec>> Make() {
    return CgroupExec::Create(sandbox_, Cat("e", ++last_));
  }

  UniqueFd sandbox_;
  uint64_t last_ = 0;
  std::unique_ptr<CgroupExec> spare_;
  std::vector<std::string> retired_;  // Not yet tried.
  std::vector<std::string> held_;     // By processes, or by cgroups beneath.
};

}  // namespace

std::unique_ptr<ExecGroups> MakeProcessGroups() { return std::make_unique<ProcessGroups>(); }

std::unique_ptr<ExecGroups> MakeSessionGroups(UniqueFd memory_events) {
  return std::make_unique<SessionGroups>(std::move(memory_events));
}

std::unique_ptr<ExecGroups> MakeCgroups(UniqueFd sandbox) {
  return std::make_unique<Cgroups>(std::move(sandbox));
}

}  // namespace msb::agent
