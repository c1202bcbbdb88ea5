// SPDX-License-Identifier: Apache-2.0
// The sandboxes of one home: starting one, finding, listing, removing, reconciling. What programs
// call; the supervisor does the rest.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "jail/subordinate_ids.h"
#include "sandbox/outcome.h"
#include "sandbox/spec.h"

namespace msb::sandbox {

// $MICROSANDBOX_HOME, default ~/.microsandbox: made when missing (0700), refused with the reason
// when it cannot be written or its file system has no working open-file-description locks.
class Home {
 public:
  static Result<Home> Open();
  // For who only looks: without the trial of its locks, which writes a file. Works read-only.
  static Result<Home> OpenToRead();
  BorrowedFd dir() const { return dir_; }
  const std::string& path() const { return path_; }

 private:
  Home(UniqueFd dir, std::string path) : dir_(std::move(dir)), path_(std::move(path)) {}
  static Result<Home> OpenFor(bool writing);

  UniqueFd dir_;
  std::string path_;
};

enum class State : uint8_t { kStarting, kRunning, kStopping, kEnded };
std::string_view Name(State state);

// What `ps` and `inspect` show. `json` is the whole record: spec, state, isolation, the walls and
// limits that its start has set up, start-up breakdown, outcome.
struct RecordInfo {
  std::string id;
  std::string name;
  std::string image;
  std::string cgroup;                // The delegated one that it was given, or empty.
  std::vector<std::string> cgroups;  // Where its machine's were made.
  State state = State::kEnded;
  Isolation isolation = Isolation::kVmEmulated;
  int64_t created_unix_ns = 0;
  std::optional<Outcome> outcome;
  std::string command;  // For people: the main command, else "-".
  // What its start has set up, as it was recorded then: compare in_force.h.
  struct Promised {
    std::vector<std::string> walls;  // Of the machine.
    std::vector<std::string> supervisor_walls;
    std::vector<std::string> limits;
    uint32_t machine_uid = 0;
    uint32_t cpus = 1;
  } promised;
  std::string json;
};

// Records with the truth about their liveness: a free lock without an outcome is kSupervisorDied.
Result<std::vector<RecordInfo>> ListSandboxes(const Home& home);
// By name, id or unique prefix of an id (4 characters at least). kNotFound with a suggestion.
Result<RecordInfo> FindSandbox(const Home& home, std::string_view name_or_id);

// Where the programs and the guest's parts are: beside the running program, else
// ../lib/microsandbox from it.
struct Parts {
  std::string supervisor;
  std::string vmm;  // These three of machines only,
  std::string kernel;
  std::string initramfs;
  std::string agent;  // this one of process sandboxes only.
};
Result<Parts> FindParts(Isolation isolation);

// What a sandbox starts from: a root disk, open for reading; or, for a process sandbox, the
// directory of a root tree and, where the store owns that, the lock that keeps it there.
struct RootSource {
  UniqueFd root;
  UniqueFd lock;
  // The rest is of an ordinary user's process sandboxes. The ids that the tree was made with: the
  // sandbox has those, or there is none.
  std::optional<jail::SubordinateSpan> ids = std::nullopt;
  bool any_ids = false;             // Of no tree of the store: whichever are to be had.
  std::string one_id_because = "";  // Why there are none; for the record.
};

// Starts the supervisor of a new sandbox with this root and returns the first control
// connection. Errors of the set-up arrive on the connection (Client::Listener::OnError).
Result<UniqueFd> Start(const Home& home, const SandboxSpec& spec, const RootSource& root,
                       const Parts& parts);
// A further connection to a running sandbox. kFailedPrecondition when it has ended.
Result<UniqueFd> Connect(const Home& home, const RecordInfo& record);

// The record of an ended sandbox, its logs and whatever is left of it.
Result<void> RemoveSandbox(const Home& home, const RecordInfo& record);

// The record's directory, for its logs (log_reader.h).
Result<UniqueFd> OpenRecord(const Home& home, const RecordInfo& record);

// Removes what no lock owns: records half made, cgroups, files; and disk templates of sizes that
// nothing was started with for 30 days. Each line of the answer names one thing that was removed.
Result<std::vector<std::string>> CollectGarbage(const Home& home);

// Before a start or a listing: removes what dead attached sandboxes have left, which nobody will
// look at. Detached ones stay until `msb rm`. Costs some system calls a record when there is
// nothing to do. What cannot be done is left for gc, and never an error here.
void Reconcile(const Home& home);

}  // namespace msb::sandbox
