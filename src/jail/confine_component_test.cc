// SPDX-License-Identifier: Apache-2.0
// Confinement of a process by itself: what is left of it.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "jail/confine.h"
#include "sys/capability.h"
#include "sys/file.h"
#include "sys/fork.h"
#include "sys/random.h"

namespace msb::jail {
namespace {

class Confinement : public testing::Test {
 protected:
  Confinement() {
    char name[] = "/tmp/msb-confine-XXXXXX";
    top_ = ::mkdtemp(name);
    dir_ = *sys::EnsureDirectory(sys::Cwd(), top_ + "/record", 0700);
  }
  ~Confinement() override { (void)sys::RemoveTreeAt(sys::Cwd(), top_); }

  // Exit code of `body` in a child, after `confine` in it; 100 when that fails.
  int After(const std::function<bool()>& confine, const std::function<int()>& body) {
    auto child = sys::ForkChild([&] { return confine() ? body() : 100; });
    EXPECT_TRUE(child.ok());
    auto status = child->Wait(Deadline::After(std::chrono::seconds(10)));
    EXPECT_TRUE(status.ok());
    return status->signaled ? 1000 + status->code : status->code;
  }
  int AsSupervisor(const std::function<int()>& body) {
    return After([&] { return ConfineSupervisor({.record_dir = dir_.get()}).ok(); }, body);
  }

  std::string top_;
  UniqueFd dir_;
};

TEST_F(Confinement, SupervisorKeepsItsRecord) {
  EXPECT_EQ(AsSupervisor([&] {
              if (!sys::ReplaceFileAt(dir_, "state", "running").ok()) return 1;
              if (!sys::MkdirAt(dir_, "logs", 0700).ok()) return 2;
              if (!sys::UnlinkAt(dir_, "state").ok()) return 3;
              if (!sys::RemoveTreeAt(dir_, "logs").ok()) return 4;
              return 0;
            }),
            0);
}

TEST_F(Confinement, SupervisorLosesTheRestOfTheFileSystem) {
  EXPECT_EQ(AsSupervisor([&] {
              if (::open("/etc/passwd", O_RDONLY | O_CLOEXEC) != -1) return 1;
              if (errno != EACCES) return 2;
              if (::open((top_ + "/x").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600) != -1)
                return 3;
              if (::open("/proc/self/status", O_RDONLY | O_CLOEXEC) != -1) return 4;
              return 0;
            }),
            0);
}

TEST_F(Confinement, SupervisorDiesOfASocket) {
  EXPECT_EQ(AsSupervisor([] { return ::socket(AF_UNIX, SOCK_STREAM, 0) >= 0 ? 1 : 2; }),
            1000 + SIGSYS);
}

TEST_F(Confinement, SupervisorStillKillsAndReapsWhatItStarted) {
  EXPECT_EQ(After([] { return true; },
                  [&] {
                    auto started = sys::ForkChild([] {
                      ::pause();
                      return 0;
                    });
                    if (!started) return 1;
                    if (!ConfineSupervisor({.record_dir = dir_.get()}).ok()) return 2;
                    if (!started->Signal(SIGKILL).ok()) return 3;
                    auto status = started->Wait(Deadline::After(std::chrono::seconds(5)));
                    return status.ok() && status->code == SIGKILL ? 0 : 4;
                  }),
            0);
}

// The death signal that the kernel sends for a confined supervisor passes the same checks as one
// that it sends itself: scoped signals would keep its children alive.
TEST_F(Confinement, SupervisorsDeathStillKillsWhatItStarted) {
  auto pipe = *sys::MakePipe();
  EXPECT_EQ(After([] { return true; },
                  [&] {
                    auto started = sys::ForkChild([] {
                      ::pause();
                      return 0;
                    });
                    if (!started) return 1;
                    (void)std::move(*started).Detach().Release();
                    return ConfineSupervisor({.record_dir = dir_.get()}).ok() ? 0 : 2;
                  }),
            0);
  pipe.write.Reset();
  char byte;
  EXPECT_EQ(::read(pipe.read.get(), &byte, 1), 0);  // Every holder of the write end has gone.
}

TEST_F(Confinement, SupervisorHoldsNoCapabilityAndDumpsNoCore) {
  // The file tells the state at the read, not at the open.
  EXPECT_EQ(After([] { return true; },
                  [&] {
                    UniqueFd status =
                        *sys::OpenAt(sys::Cwd(), "/proc/thread-self/status", O_RDONLY);
                    if (!ConfineSupervisor({.record_dir = dir_.get()}).ok()) return 1;
                    auto text = sys::ReadAll(status, 1 << 16);
                    if (!text) return 2;
                    for (const char* line :
                         {"CapEff:\t0000000000000000", "CapPrm:\t0000000000000000",
                          "CapInh:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"})
                      if (text->find(line) == std::string::npos) return 3;
                    if (::geteuid() == 0 && text->find("CapBnd:\t0000000000000000") == text->npos)
                      return 4;
                    rlimit core;
                    return ::getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_max == 0 ? 0 : 5;
                  }),
            0);
}

TEST_F(Confinement, DroppingCapabilitiesLeavesExactlyWhatIsKept) {
  EXPECT_EQ(After([&] { return sys::DropCapabilities(1).ok(); },
                  [] {
                    auto held = sys::GetCapabilities();
                    if (!held) return 1;
                    bool root = ::geteuid() == 0;
                    if (held->permitted != (root ? 1u : 0u)) return 2;
                    if (held->effective != held->permitted || held->inheritable != 0) return 3;
                    if (root && ::prctl(PR_CAPBSET_READ, 0) != 0) return 4;
                    // uid 0 is no way back.
                    return sys::DropCapabilities(0).ok() ? 0 : 5;
                  }),
            0);
}

TEST_F(Confinement, SupervisorReadsAndRemovesItsCgroupAndTouchesNoOther) {
  auto host = sys::CgroupHost::Find("");
  if (!host) return;  // cgroup_component_test says why.
  std::string name = sys::RandomId(8);
  auto own = sys::Cgroup::Create(*host, name, {.pids = 10});
  if (!own) return;
  auto other = sys::Cgroup::Create(*host, name + ".other", {.pids = 10});
  ASSERT_TRUE(other.ok());
  EXPECT_EQ(After([] { return true; },
                  [&] {
                    if (!ConfineSupervisor({.record_dir = dir_.get(), .cgroups = {&*own}}).ok())
                      return 1;
                    (void)own->Usage();
                    std::string limit = other->Paths()[0] + "/cgroup.procs";
                    if (::open(limit.c_str(), O_WRONLY | O_CLOEXEC) != -1 || errno != EACCES)
                      return 2;
                    return own->Remove().ok() ? 0 : 3;
                  }),
            0);
  EXPECT_EQ(sys::Cgroup::Adopt(*host, name).error().code(), Code::kNotFound);
  EXPECT_TRUE(other->Remove().ok());
}

TEST_F(Confinement, UnpackerWritesOnlyBelowItsTarget) {
  UniqueFd source = *sys::EnsureDirectory(sys::Cwd(), top_ + "/source", 0700);
  ASSERT_TRUE(sys::ReplaceFileAt(source, "layer", "bytes").ok());
  EXPECT_EQ(After(
                [&] {
                  return ConfineUnpacker({.sources = {source.get()}, .targets = {dir_.get()}}).ok();
                },
                [&] {
                  if (!sys::ReplaceFileAt(dir_, "out", "x").ok()) return 1;
                  if (!sys::SymlinkAt("/etc", dir_, "link").ok()) return 2;
                  auto read = sys::ReadFileAt(source, "layer", 100);
                  if (!read || *read != "bytes") return 3;
                  if (sys::ReplaceFileAt(source, "layer", "other").ok()) return 4;
                  if (::open("/etc/passwd", O_RDONLY | O_CLOEXEC) != -1) return 5;
                  // Through the link that it made itself.
                  if (::openat(dir_.get(), "link/passwd", O_RDONLY | O_CLOEXEC) != -1) return 6;
                  return 0;
                }),
            0);
}

TEST_F(Confinement, AnErrorNamesTheWall) {
  EXPECT_EQ(After([] { return true; },
                  [] {
                    auto facts = ConfineSupervisor({.record_dir = 12345});
                    if (facts) return 1;
                    const std::string& said = facts.error().message();
                    return said.find("confine supervisor: record directory") == 0 ? 0 : 2;
                  }),
            0);
}

}  // namespace
}  // namespace msb::jail
