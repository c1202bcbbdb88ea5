// SPDX-License-Identifier: Apache-2.0
// Making, reading and removing records.

#include "sandbox/record.h"

#include <fcntl.h>

#include <cerrno>

#include "base/log.h"
#include "base/text.h"

namespace msb::sandbox {
namespace {

Result<void> WriteFile(BorrowedFd dir, const std::string& name, std::string_view text) {
  UniqueFd file = TRY(sys::OpenAt(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
  return sys::WriteAll(file, text);
}

Error NameTaken(const std::string& name, const StoredRecord& other) {
  Error error(Code::kAlreadyExists,
              Cat("--name ", name, ": sandbox ", other.id, " has this name and ",
                  other.alive ? "is running" : "has ended"));
  return std::move(error).Remedy(other.alive ? Cat("msb stop ", name, ", or another --name")
                                             : Cat("msb rm ", name, ", or another --name"));
}

// Who has the name, if that one is still entitled to it: alive, or kept after its end.
Result<std::optional<StoredRecord>> Entitled(BorrowedFd sandboxes, const std::string& id) {
  auto record = TRY(ReadRecord(sandboxes, id));
  if (!record) {
    // Half made counts while its maker lives.
    if (!TRY(IsAlive(sandboxes, id))) return std::optional<StoredRecord>();
    StoredRecord starting;
    starting.id = id;
    starting.alive = true;
    return std::optional(std::move(starting));
  }
  if (!record->alive && record->spec.lifetime == Lifetime::kAttached)
    return std::optional<StoredRecord>();
  return record;
}

Result<std::optional<std::string>> FindName(BorrowedFd names, const std::string& name) {
  auto target = sys::ReadLinkAt(names, name);
  if (target) return std::optional(std::move(*target));
  if (target.error().sys_errno() == ENOENT) return std::optional<std::string>();
  return std::move(target).error();
}

// Fast: one symlinkat under the shared gate. A stale link is taken over under the exclusive gate,
// or two starters could each remove the other's.
Result<void> ClaimName(BorrowedFd sandboxes, BorrowedFd names, const std::string& name,
                       const std::string& id, std::optional<sys::FileLock>& gate) {
  auto claimed = sys::SymlinkAt(id, names, name);
  if (claimed || claimed.error().sys_errno() != EEXIST) return claimed;
  gate.reset();
  gate = TRY(PassGate(sandboxes, GateMode::kExclusive));
  if (auto owner = TRY(FindName(names, name))) {
    if (auto other = TRY(Entitled(sandboxes, *owner))) return NameTaken(name, *other);
    TRY(sys::UnlinkAt(names, name));
  }
  return sys::SymlinkAt(id, names, name);
}

}  // namespace

Result<sys::FileLock> PassGate(BorrowedFd sandboxes, GateMode mode,
                               std::chrono::milliseconds patience) {
  UniqueFd file = TRY(sys::OpenAt(sandboxes, kGateFile, O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  Deadline deadline = Deadline::After(patience);
  auto lock = mode == GateMode::kShared ? sys::FileLock::WaitShared(std::move(file), deadline)
                                        : sys::FileLock::WaitExclusive(std::move(file), deadline);
  return std::move(lock).Context(Cat("lock ", kSandboxesDir, "/", kGateFile));
}

bool LockSaysKept(const struct stat& lock) { return lock.st_size > 0; }

Result<Record> Record::Create(BorrowedFd home, const SandboxSpec& spec, std::string id) {
  UniqueFd sandboxes = TRY(sys::EnsureDirectory(home, kSandboxesDir, 0700));
  UniqueFd names = TRY(sys::EnsureDirectory(sandboxes, kNamesDir, 0700));
  std::optional gate = TRY(PassGate(sandboxes, GateMode::kShared));
  TRY(sys::MkdirAt(sandboxes, id, 0700));
  UniqueFd dir = TRY(sys::OpenAt(sandboxes, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  auto lock = TRY(sys::FileLock::TryExclusive(
      TRY(sys::OpenAt(dir, kLockFile, O_RDWR | O_CREAT | O_EXCL, 0600))));
  Record record(std::move(id), "", std::move(sandboxes), std::move(names), std::move(dir),
                std::move(lock));
  record.spec_json_ = ToJson(spec);
  auto made = WriteFile(record.dir_, kSpecFile, record.spec_json_);
  if (made && spec.lifetime == Lifetime::kDetached)
    made = sys::WriteAll(record.lock_.fd(), "detached\n");
  if (made && !spec.name.empty()) {
    made = ClaimName(record.sandboxes_, record.names_, spec.name, record.id_, gate);
    if (made) record.name_ = spec.name;
  }
  if (!made) {
    auto removed = record.Remove();
    if (!removed) LOG(kWarn, "record left behind", {"why", removed.error().message()});
    return std::move(made).error();
  }
  return record;
}

Result<void> Record::WriteState(const RecordState& state, Durability durability) {
  std::string text = ToJson(state);
  if (durability == Durability::kSynced) return sys::ReplaceFileAt(dir_, kStateFile, text);
  constexpr const char* kNext = ".state.next";
  {
    UniqueFd file = TRY(sys::OpenAt(dir_, kNext, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600));
    TRY(sys::WriteAll(file, text));
  }
  return sys::RenameAt(dir_, kNext, dir_, kStateFile);
}

Result<void> Record::Remove() {
  if (!name_.empty()) ReleaseName(sandboxes_, name_, id_);
  for (const std::string& file : TRY(sys::ListDirectory(dir_))) {
    // Last: with the lock file gone, readers see a record that is half removed.
    if (file != kLockFile) TRY(sys::UnlinkAt(dir_, file));
  }
  TRY(sys::UnlinkAt(dir_, kLockFile));
  return sys::UnlinkAt(sandboxes_, id_, AT_REMOVEDIR);
}

void ReleaseName(BorrowedFd sandboxes, const std::string& name, const std::string& id) {
  auto names = sys::OpenAt(sandboxes, kNamesDir, O_PATH | O_DIRECTORY | O_NOFOLLOW);
  if (!names) return;
  auto owner = FindName(*names, name);
  if (!owner || !owner->has_value() || **owner != id) return;
  auto removed = sys::UnlinkAt(*names, name);
  if (!removed) LOG(kDebug, "name left behind", {"why", removed.error().message()});
}

bool IsRecordName(std::string_view name) {
  return !name.empty() && name.find('.') == std::string_view::npos;
}

Result<bool> IsAlive(BorrowedFd sandboxes, const std::string& id) {
  auto lock = sys::OpenAt(sandboxes, Cat(id, "/", kLockFile), O_RDONLY | O_NOFOLLOW);
  if (!lock) {
    if (lock.error().sys_errno() == ENOENT || lock.error().sys_errno() == ENOTDIR) return false;
    return std::move(lock).error();
  }
  return sys::FileLock::IsHeld(*lock);
}

Result<std::optional<StoredRecord>> ReadRecord(BorrowedFd sandboxes, const std::string& id) {
  StoredRecord record;
  record.id = id;
  // Before the state: who lets go of the lock has written the last state.
  record.alive = TRY(IsAlive(sandboxes, id));
  auto spec = TRY(sys::FindFileAt(sandboxes, Cat(id, "/", kSpecFile), kMaxRecordFile));
  if (!spec) return std::optional<StoredRecord>();
  auto parsed = ParseSpec(*spec);
  // A record of another version, or cut short by a power failure.
  if (!parsed) return std::optional<StoredRecord>();
  record.spec = std::move(*parsed);
  record.spec_json = std::move(*spec);
  auto state = TRY(sys::FindFileAt(sandboxes, Cat(id, "/", kStateFile), kMaxRecordFile));
  if (state) {
    auto read = ParseRecordState(*state);
    if (read) record.state = std::move(*read);
  }
  return std::optional(std::move(record));
}

}  // namespace msb::sandbox
