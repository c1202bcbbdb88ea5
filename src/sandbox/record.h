// SPDX-License-Identifier: Apache-2.0
// Record: the directory that says a sandbox exists.
//
//   sandboxes/
//     .gate            held shared while a record is made, exclusive by who removes what no lock
//     owns .names/<name>    symbolic link to the id that has the name <id>/            lock,
//     spec.json, state.json, control.sock, logs
//
// The lock is taken before anything else is in the directory and held by the supervisor alone, so
// whatever has a free lock is over, at whatever point its maker died. A name is claimed last and
// given up first: a link to a record that is not there is stale.

#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "sandbox/record_state.h"
#include "sandbox/spec.h"
#include "sys/file.h"

namespace msb::sandbox {

inline constexpr const char* kSandboxesDir = "sandboxes";
inline constexpr const char* kNamesDir = ".names";
inline constexpr const char* kGateFile = ".gate";
inline constexpr const char* kLockFile = "lock";
inline constexpr const char* kSpecFile = "spec.json";
inline constexpr const char* kStateFile = "state.json";
inline constexpr const char* kControlSocket = "control.sock";
inline constexpr size_t kMaxRecordFile = 512 * 1024;

// The supervisor's own record.
class Record {
 public:
  // kAlreadyExists when the name is taken, with what to do.
  static Result<Record> Create(BorrowedFd home, const SandboxSpec& spec, std::string id);

  const std::string& id() const { return id_; }
  BorrowedFd dir() const { return dir_; }
  BorrowedFd sandboxes() const { return sandboxes_; }
  BorrowedFd names() const { return names_; }
  const std::string& spec_json() const { return spec_json_; }

  // A state that readers need not find after a power failure is not synced: that costs
  // milliseconds on the way of a start.
  enum class Durability : uint8_t { kNone, kSynced };
  Result<void> WriteState(const RecordState& state, Durability durability);
  // The name, the files, the directory. Errors are of the last resort: gc finds what is left.
  Result<void> Remove();

 private:
  Record(std::string id, std::string name, UniqueFd sandboxes, UniqueFd names, UniqueFd dir,
         sys::FileLock lock)
      : id_(std::move(id)),
        name_(std::move(name)),
        sandboxes_(std::move(sandboxes)),
        names_(std::move(names)),
        dir_(std::move(dir)),
        lock_(std::move(lock)) {}

  std::string id_;
  std::string name_;
  std::string spec_json_;
  UniqueFd sandboxes_;
  UniqueFd names_;
  UniqueFd dir_;
  sys::FileLock lock_;
};

// What a reader finds.
struct StoredRecord {
  std::string id;
  bool alive = false;  // The lock is held.
  SandboxSpec spec;
  std::string spec_json;
  std::optional<RecordState> state;  // Not written yet, or unreadable.
};
// nullopt when there is none, or it is half made or half removed.
Result<std::optional<StoredRecord>> ReadRecord(BorrowedFd sandboxes, const std::string& id);
// Whether `id` looks like a record's name at all (names with a dot are ours for other things).
bool IsRecordName(std::string_view name);
// Is the lock of this record held?
Result<bool> IsAlive(BorrowedFd sandboxes, const std::string& id);
// Gives up `name` if it stands for `id`.
void ReleaseName(BorrowedFd sandboxes, const std::string& name, const std::string& id);
// Waits for the gate; whoever has it has it for moments, so a long wait is an error.
enum class GateMode : uint8_t { kShared, kExclusive };
Result<sys::FileLock> PassGate(BorrowedFd sandboxes, GateMode mode,
                               std::chrono::milliseconds patience = std::chrono::seconds(30));
// Whether a record with a free lock is kept for its user, by a look at the lock file alone: a
// detached one's is not empty. A hint, for a pass over many; a record's spec is the truth.
bool LockSaysKept(const struct stat& lock);

}  // namespace msb::sandbox
