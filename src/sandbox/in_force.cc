// SPDX-License-Identifier: Apache-2.0
// Finds the processes of a sandbox and asks the kernel about each.

#include "sandbox/in_force.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>

#include "base/text.h"
#include "sys/file.h"
#include "sys/socket.h"

namespace msb::sandbox {
namespace {

constexpr size_t kMostProcesses = 64;
constexpr size_t kMostCgroupText = 64 * 1024;
constexpr const char* kCgroupLimits[] = {
    "memory.max", "memory.high", "memory.swap.max",  "memory.limit_in_bytes", "pids.max",
    "cpu.max",    "cpu.weight",  "cpu.cfs_quota_us", "cpu.cfs_period_us",     "memory.oom.group"};

Result<bool> Contains(BorrowedFd cgroup, pid_t pid) {
  std::string members = TRY(sys::ReadFileAt(cgroup, "cgroup.procs", kMostCgroupText));
  auto lines = Split(members, '\n');
  return std::find(lines.begin(), lines.end(), Cat(pid)) != lines.end();
}

CgroupInForce ReadCgroup(const std::string& path, pid_t machine) {
  auto dir = sys::OpenAt(sys::Cwd(), path, O_RDONLY | O_DIRECTORY);
  if (!dir) return {path, std::move(dir).error(), {}};
  CgroupInForce cgroup{path, Contains(*dir, machine), {}};
  for (const char* file : kCgroupLimits) {
    auto text = sys::FindFileAt(*dir, file, kMostCgroupText);
    if (!text || !*text) continue;
    std::string value = **text;
    while (!value.empty() && value.back() == '\n') value.pop_back();
    cgroup.limits.emplace(file, Escape(value, 64));
  }
  return cgroup;
}

// The walls that were promised of the init: the jail's, but for what the machine's process does to
// itself alone. Its uid stays the supervisor's.
std::vector<std::string> WallsOfInit(std::vector<std::string> walls) {
  std::erase_if(walls, [](const std::string& wall) {
    return wall == "ids" || wall == "landlock" || wall == "no descriptors but its own";
  });
  return walls;
}

class Reader {
 public:
  explicit Reader(const RecordInfo& record) : record_(record) {
    if (auto own = jail::ReadOwnNamespaces())
      own_ = *std::move(own);
    else
      found_.problems.push_back(own.error().message());
  }

  Result<InForce> Run(pid_t supervisor) {
    TRY(AddProcess(Part::kSupervisor, supervisor));
    auto below = TRY(jail::ListDescendants(supervisor, kMostProcesses));
    pid_t init = 0, machine = 0;
    for (pid_t pid : below) {
      auto walls = jail::ReadProcessWalls(pid);
      if (!walls) {
        found_.problems.push_back(Cat("unknown: ", walls.error().message()));
        continue;
      }
      Part part = Part::kOther;
      // A process sandbox has no init but its agent.
      if (record_.isolation == Isolation::kProcess) {
        part = walls->parent == supervisor && machine == 0 ? Part::kMachine : Part::kProgram;
        if (part == Part::kMachine) machine = pid;
      } else if (walls->parent == supervisor && init == 0) {
        part = Part::kJailInit;
        init = pid;
      } else if (walls->parent == init && init != 0 && machine == 0) {
        part = Part::kMachine;
        machine = pid;
      } else {
        found_.problems.push_back(Cat("process ", pid, " (", walls->name,
                                      ") is neither the jail's init nor the machine"));
      }
      Judge(part, *std::move(walls));
    }
    if (machine == 0) found_.problems.emplace_back("no machine runs beneath the supervisor");
    if (machine != 0) JudgeLimits(machine);
    return std::move(found_);
  }

 private:
  Result<void> AddProcess(Part part, pid_t pid) {
    Judge(part, TRY(jail::ReadProcessWalls(pid)));
    return {};
  }

  void Judge(Part part, jail::ProcessWalls walls) {
    Expected expected{.part = part,
                      .isolation = record_.isolation,
                      .walls = {},
                      .uid = record_.promised.machine_uid,
                      .cpus = record_.promised.cpus};
    if (part == Part::kSupervisor) expected.walls = record_.promised.supervisor_walls;
    if (part == Part::kMachine || part == Part::kProgram) expected.walls = record_.promised.walls;
    if (part == Part::kJailInit) expected.walls = WallsOfInit(record_.promised.walls);
    std::vector<const jail::Namespaces*> others;
    if (own_) others.push_back(&*own_);
    if (supervisors_) others.push_back(&*supervisors_);
    ProcessInForce process{part, std::move(walls), {}, {}};
    process.findings = CompareWalls(expected, process.walls, others);
    for (const jail::ThreadWalls& thread : process.walls.threads)
      process.policies.push_back(PolicyOfThread(part, record_.isolation, process.walls, thread));
    if (part == Part::kSupervisor && process.walls.namespaces)
      supervisors_ = *process.walls.namespaces;
    found_.processes.push_back(std::move(process));
  }

  void JudgeLimits(pid_t machine) {
    for (const std::string& path : record_.cgroups)
      found_.cgroups.push_back(ReadCgroup(path, machine));
    for (const ProcessInForce& process : found_.processes)
      if (process.part == Part::kMachine)
        found_.limits = CompareLimits(record_.promised.limits, process.walls, found_.cgroups);
  }

  const RecordInfo& record_;
  std::optional<jail::Namespaces> own_, supervisors_;
  InForce found_;
};

}  // namespace

std::string_view Name(Part part) {
  switch (part) {
    case Part::kSupervisor:
      return "supervisor";
    case Part::kJailInit:
      return "jail init";
    case Part::kMachine:
      return "machine";
    case Part::kProgram:
      return "program";
    case Part::kOther:
      break;
  }
  return "other";
}

Result<InForce> ReadInForce(const Home& home, const RecordInfo& record) {
  // Held to the end: as long as it stands, the supervisor's number is the supervisor's.
  UniqueFd connection = TRY(Connect(home, record));
  auto peer = TRY(sys::GetPeer(connection));
  if (peer.pid == 0)
    return Error(Code::kUnavailable, "the supervisor runs in a PID namespace that is not ours")
        .Remedy("run msb inspect where the sandbox was started");
  return Reader(record).Run(peer.pid);
}

}  // namespace msb::sandbox
