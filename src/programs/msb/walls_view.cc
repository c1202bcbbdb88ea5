// SPDX-License-Identifier: Apache-2.0
#include "programs/msb/walls_view.h"

#include <set>

#include "base/text.h"
#include "programs/msb/ui.h"

namespace msb::cli {
namespace {

// QEMU's table has some hundred: those are for --json.
constexpr size_t kMostNamedCalls = 64;
constexpr size_t kLineWidth = 100;

std::string_view Word(sandbox::Verdict verdict) {
  switch (verdict) {
    case sandbox::Verdict::kHolds:
      return "yes";
    case sandbox::Verdict::kDiffers:
      return "NO";
    case sandbox::Verdict::kUnknown:
      break;
  }
  return "unknown";
}

std::string Heading(const sandbox::RecordInfo& record) {
  return Cat(record.name.empty() ? record.id : record.name, ": isolation ",
             sandbox::Name(record.isolation), ", ", sandbox::Name(record.state), "\n");
}

void AddFindings(Table& table, const std::string& where,
                 const std::vector<sandbox::Finding>& findings) {
  for (const sandbox::Finding& finding : findings)
    table.Add({where, finding.wall, std::string(Word(finding.verdict)), finding.says});
}

std::string SeccompText(const jail::TaskStatus& status) {
  if (!status.seccomp_mode) return "unknown: this kernel does not say";
  std::string text = Cat("mode ", *status.seccomp_mode);
  if (status.seccomp_filters)
    text +=
        Cat(", ", *status.seccomp_filters, *status.seccomp_filters == 1 ? " filter" : " filters");
  return text;
}

std::string Threads(const sandbox::InForce& in_force, std::set<std::string_view>& policies) {
  Table table({"PROCESS", "THREAD", "TID", "SECCOMP", "TABLE OF ITS CLASS"});
  for (const sandbox::ProcessInForce& process : in_force.processes) {
    for (size_t i = 0; i < process.walls.threads.size(); i++) {
      const jail::ThreadWalls& thread = process.walls.threads[i];
      std::string_view policy = process.policies[i];
      policies.insert(policy);
      table.Add({std::string(Name(process.part)), thread.status.name, Cat(thread.tid),
                 SeccompText(thread.status),
                 policy.empty() ? "unknown: a name that none of ours has" : std::string(policy)});
    }
  }
  return table.Text(UseColor(1));
}

std::string PolicyText(std::string_view name) {
  jail::Policy policy = sandbox::FindPolicy(name);
  auto calls = jail::AllowedCalls(policy);
  std::string text = Cat(name, " allows ", calls.size(), " calls");
  if (calls.size() > kMostNamedCalls) return text + ", named by --json\n";
  text += ":\n";
  std::string line = " ";
  for (const std::string& call : calls) {
    if (line.size() + call.size() + 1 > kLineWidth) {
      text += line + "\n";
      line = " ";
    }
    line += " " + call;
  }
  return text + line + "\n";
}

}  // namespace

std::string WallsText(const sandbox::RecordInfo& record, const sandbox::InForce& in_force) {
  std::string text = Heading(record) + "\n";
  Table walls({"PROCESS", "PROMISED", "IN FORCE", "THE KERNEL SAYS"});
  size_t differing = in_force.problems.size();
  for (const sandbox::ProcessInForce& process : in_force.processes) {
    AddFindings(walls, Cat(Name(process.part), " ", process.walls.pid), process.findings);
    for (const sandbox::Finding& finding : process.findings)
      differing += finding.verdict == sandbox::Verdict::kDiffers ? 1 : 0;
  }
  AddFindings(walls, "machine", in_force.limits);
  for (const sandbox::Finding& finding : in_force.limits)
    differing += finding.verdict == sandbox::Verdict::kDiffers ? 1 : 0;
  std::set<std::string_view> policies;
  text += walls.Text(UseColor(1)) + "\n" + Threads(in_force, policies) + "\n";
  policies.erase("");
  for (std::string_view policy : policies) text += PolicyText(policy);
  text +=
      "  (...): with some arguments. Every other call ends the process (qemu, process sandbox: "
      "fails).\n";
  text +=
      "  Which filters a thread runs, the kernel shows nobody from outside: their number it "
      "does.\n";
  for (const std::string& problem : in_force.problems) text += Cat("\nnot as promised: ", problem);
  if (!in_force.problems.empty()) text += "\n";
  if (differing != 0)
    text += Cat("\n", differing, differing == 1 ? " thing is" : " things are",
                " not as the start has set it up: do not trust this sandbox's walls\n");
  return text;
}

std::string RecordedWallsText(const sandbox::RecordInfo& record, std::string_view why) {
  std::string text = Heading(record);
  text += why.empty() ? "Nothing of it runs. Its start had set up, as it was recorded then:\n"
                      : Cat("What is in force is unknown: ", why,
                            "\nIts start had set up, as it was recorded then:\n");
  for (const std::string& wall : record.promised.walls) text += Cat("  ", wall, "\n");
  for (const std::string& limit : record.promised.limits) text += Cat("  ", limit, "\n");
  return text;
}

}  // namespace msb::cli
