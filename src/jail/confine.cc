// SPDX-License-Identifier: Apache-2.0
// The supervisor's and the unpacker's last act before they read hostile bytes.

#include "jail/confine.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <cerrno>
#include <span>

#include "base/text.h"
#include "jail/policies.h"
#include "sys/capability.h"
#include "sys/file.h"
#include "sys/landlock.h"
#include "sys/seccomp.h"

namespace msb::jail {
namespace {

namespace landlock = sys::landlock;

Result<void> LowerLimit(__rlimit_resource resource, const char* name, rlim_t value) {
  rlimit now;
  if (::getrlimit(resource, &now) == -1) return Error::Errno(Cat("getrlimit ", name));
  if (now.rlim_max < value) value = now.rlim_max;
  rlimit wanted{value, value};
  if (::setrlimit(resource, &wanted) == -1) return Error::Errno(Cat("setrlimit ", name));
  return {};
}

// The common end: limits, capabilities, then Landlock and seccomp, which need no_new_privs.
Result<ConfinementFacts> Seal(const sys::LandlockRuleset& ruleset, const Filter& filter,
                              uint64_t keep_capabilities, uint64_t open_files) {
  TRY(LowerLimit(RLIMIT_CORE, "core", 0));
  TRY(LowerLimit(RLIMIT_NOFILE, "nofile", open_files));
  TRY(sys::DropCapabilities(keep_capabilities));
  TRY(sys::SetNoNewPrivileges());
  TRY(ruleset.RestrictSelf());
  TRY(sys::InstallSeccompFilter(filter.code));
  return ConfinementFacts{{"capabilities", "no_new_privs", "landlock", "seccomp"}, ruleset.abi()};
}

Result<void> AllowPath(sys::LandlockRuleset& ruleset, const std::string& path, uint64_t rights) {
  UniqueFd fd = TRY(sys::OpenAt(sys::Cwd(), path, O_PATH));
  return ruleset.Allow(fd, rights).Context(path);
}

Result<ConfinementFacts> Supervisor(const SupervisorConfinement& spec) {
  int abi = TRY(sys::LandlockAbi());
  // Signals stay: the jail's init is outside this domain and must be killable from here.
  auto ruleset = TRY(sys::LandlockRuleset::Create(abi, sys::LandlockSignals::kAllow));
  TRY(ruleset.Allow(BorrowedFd::Raw(spec.record_dir), landlock::kWriteTree)
          .Context("record directory"));
  if (spec.records_dir != -1)
    TRY(ruleset.Allow(BorrowedFd::Raw(spec.records_dir), landlock::kRemoveDir).Context("records"));
  if (spec.names_dir != -1)
    TRY(ruleset.Allow(BorrowedFd::Raw(spec.names_dir), landlock::kRemoveFile).Context("names"));
  for (const sys::Cgroup* cgroup : spec.cgroups) {
    for (const std::string& path : cgroup->Paths()) {
      TRY(AllowPath(ruleset, path, landlock::kReadTree | landlock::kWriteFile));
      // Beneath the parent nothing but rmdir, which spares a cgroup that has members.
      TRY(AllowPath(ruleset, path.substr(0, path.rfind('/')), landlock::kRemoveDir));
    }
  }
  return Seal(ruleset, kSupervisorFilter, 0, spec.open_files);
}

Result<ConfinementFacts> Unpacker(const UnpackerConfinement& spec) {
  int abi = TRY(sys::LandlockAbi());
  auto ruleset = TRY(sys::LandlockRuleset::Create(abi, sys::LandlockSignals::kForbid));
  constexpr uint64_t kMakeAll = landlock::kWriteTree | landlock::kMakeChar | landlock::kMakeBlock |
                                landlock::kMakeFifo | landlock::kMakeSocket |
                                landlock::kMakeSymlink;
  for (int source : spec.sources)
    TRY(ruleset.Allow(BorrowedFd::Raw(source), landlock::kReadTree).Context("source"));
  for (int target : spec.targets)
    TRY(ruleset.Allow(BorrowedFd::Raw(target), kMakeAll).Context("target directory"));
  for (const std::string& path : spec.libraries) {
    auto allowed = AllowPath(ruleset, path, landlock::kReadTree);
    if (!allowed && allowed.error().code() != Code::kNotFound) return std::move(allowed).error();
  }
  return Seal(ruleset, kUnpackerFilter, spec.keep_capabilities, spec.open_files);
}

}  // namespace

Result<ConfinementFacts> ConfineSupervisor(const SupervisorConfinement& spec) {
  return Supervisor(spec).Context("confine supervisor");
}

Result<ConfinementFacts> ConfineUnpacker(const UnpackerConfinement& spec) {
  return Unpacker(spec).Context("confine unpacker");
}

}  // namespace msb::jail
