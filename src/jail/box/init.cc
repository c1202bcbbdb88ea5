// SPDX-License-Identifier: Apache-2.0
// The sandbox from inside: PID 1 of its PID namespace, and the last steps of the command's process.
//
// Between clone and exec: system calls on prepared values only. Each failure is reported as
// {step, errno, index} and ends the process; the kernel then takes the namespaces away, and with
// them every mount.

#include <fcntl.h>
#include <linux/keyctl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "jail/box/plan.h"
#include "sys/capability.h"
#include "sys/landlock.h"
#include "sys/seccomp.h"

namespace msb::box {
namespace {

class BoxInit final : public jail::Init {
 public:
  explicit BoxInit(Plan& plan) : jail::Init(plan), plan_(plan) {}
  [[noreturn]] void Run();

 private:
  void EnterNetwork();
  size_t WaitForParent(std::span<int> trees);
  void EnterTime();
  void EnterIds();
  void Send(char what, int fd, Step step);
  void MakeTerminal();
  [[noreturn]] void RunCommand();
  void Confine();
  [[noreturn]] void Exec();
  void Hide();
  [[noreturn]] void ServeCommand(pid_t command, int children);

  Plan& plan_;
  int doors_[kFdsAtOnce];
};

void BoxInit::EnterNetwork() {
  if (plan_.makes_network) Check(Step::kNetwork, ::unshare(CLONE_NEWNET));
  if (!plan_.own_network) return;
  int any = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  Check(Step::kLoopback, any);
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  Check(Step::kLoopback, ::ioctl(any, SIOCSIFFLAGS, &request));
  ::close(any);
}

// The parent has written the id maps; the doors and trees that it opened come along. Returns the
// number of the trees.
size_t BoxInit::WaitForParent(std::span<int> trees) {
  size_t count = 0, doors = 0;
  for (char said = kTrees; said != kGo;) {
    iovec part{&said, 1};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kFdsAtOnce)];
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    ssize_t n = ::recvmsg(plan_.leash, &message, MSG_CMSG_CLOEXEC);
    if (n == 0) errno = ESRCH;
    Check(Step::kWaitForParent, n == 1 ? 0 : -1);
    for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
         header = CMSG_NXTHDR(&message, header)) {
      if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
      size_t sent = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      std::span<int> kept = said == kDoors ? std::span<int>(doors_) : trees;
      size_t& next = said == kDoors ? doors : count;
      for (size_t i = 0; i < sent && next < kept.size(); i++)
        std::memcpy(&kept[next++], CMSG_DATA(header) + i * sizeof(int), sizeof(int));
    }
  }
  if (doors != 0) plan_.cgroup_doors = std::span(doors_).first(doors);
  return count;
}

// The init too, though it would be enough for the children: vfork() is refused to whoever is in
// another one than they (copy_process(), Linux 6.1), and exec changes over from Linux 6.3 on only.
void BoxInit::EnterTime() {
  if (!plan_.own_time) return;
  Check(Step::kTimeNamespace, ::unshare(CLONE_NEWTIME));
  WriteFile(Step::kTimeNamespace, AT_FDCWD, "/proc/self/timens_offsets", plan_.time_offsets);
  int own = ::open("/proc/self/ns/time_for_children", O_RDONLY | O_CLOEXEC);
  Check(Step::kTimeNamespace, own);
  Check(Step::kTimeNamespace, ::setns(own, CLONE_NEWTIME));
  ::close(own);
}

void BoxInit::EnterIds() {
  if (!plan_.own_users) return;
  // Whom the one mapped id is of whoever has no more; else root, inside.
  uid_t uid = plan_.drop_groups ? 0 : plan_.uid;
  gid_t gid = plan_.drop_groups ? 0 : plan_.gid;
  TakeIds(Step::kIds, plan_.drop_groups, uid, gid);
}

// To the parent.
void BoxInit::Send(char what, int fd, Step step) {
  iovec part{&what, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
  Check(step, ::sendmsg(plan_.leash, &message, MSG_NOSIGNAL) == 1 ? 0 : -1);
}

// In the sandbox's own devpts, so that its name is to be found inside.
void BoxInit::MakeTerminal() {
  if (!plan_.terminal) return;
  int ours = ::open("/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
  Check(Step::kTerminal, ours);
  int locked = 0;
  Check(Step::kTerminal, ::ioctl(ours, TIOCSPTLCK, &locked));
  int theirs = ::ioctl(ours, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  Check(Step::kTerminal, theirs);
  // Above the numbers that it will be put at: dup2() of a number to itself leaves close-on-exec.
  plan_.terminal_fd = ::fcntl(theirs, F_DUPFD_CLOEXEC, jail::kFirstInitFd);
  Check(Step::kTerminal, plan_.terminal_fd);
  ::close(theirs);
  Check(Step::kTerminal, ::ioctl(ours, TIOCSWINSZ, &plan_.terminal_size));
  Check(Step::kTerminal, ::fchown(plan_.terminal_fd, plan_.uid, static_cast<gid_t>(-1)));
  Send(kTerminal, ours, Step::kTerminal);
  ::close(ours);
  for (uint32_t i = 0; i < 3; i++) {
    if (!plan_.terminal_streams[i]) continue;
    ::close(plan_.fds[i].fd);
    plan_.fds[i].fd = plan_.terminal_fd;
  }
}

void BoxInit::Confine() {
  Check(Step::kNoNewPrivileges, ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
  int ruleset = sys::RawLandlockCreateForFiles(plan_.landlock_abi, sys::LandlockSignals::kForbid);
  Check(Step::kLandlock, ruleset);
  int root = ::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  Check(Step::kLandlock, root);
  // Files are the mounts' business. What the domain takes away for good: changes to the mounts,
  // tracing and signals across its edge, abstract sockets of others.
  Check(Step::kLandlock,
        sys::RawLandlockAllow(ruleset, root, sys::HandledByLandlock(plan_.landlock_abi).fs));
  Check(Step::kLandlock, sys::RawLandlockRestrictSelf(ruleset));
  ::close(root);
  ::close(ruleset);
  if (!plan_.listen) {
    Check(Step::kSeccomp, sys::RawInstallSeccompFilter(plan_.filter, plan_.filter_length));
    return;
  }
  // Close-on-exec: the command never holds it. From here on, nothing but what CallPolicy::Compile()
  // keeps from asking: the parent answers nobody before our exec.
  int listener = sys::RawInstallSeccompListener(plan_.filter, plan_.filter_length);
  Check(Step::kSeccomp, listener);
  Send(kListener, listener, Step::kSeccomp);
}

// As execvp(3): what is not there, or is no program for us, leads to the next directory of PATH.
void BoxInit::Exec() {
  int worst = ENOENT;
  for (const char* path : plan_.candidates) {
    ::execve(path, plan_.argv, plan_.environment);
    if (errno == EACCES) worst = EACCES;
    if (errno != ENOENT && errno != ENOTDIR && errno != EACCES) {
      worst = errno;
      break;
    }
  }
  errno = worst;
  Fail(Step::kExec, 0);
}

void BoxInit::RunCommand() {
  sigset_t none;
  ::sigemptyset(&none);
  Check(Step::kSession, ::sigprocmask(SIG_SETMASK, &none, nullptr));
  Check(Step::kSession, ::setsid());
  if (plan_.terminal) Check(Step::kTerminal, ::ioctl(plan_.terminal_fd, TIOCSCTTY, 0));
  PlaceDescriptors(Step::kPlaceDescriptors);
  SetLimits(Step::kLimits);
  Check(Step::kCapabilities, sys::RawLimitCapabilities(plan_.capabilities));
  if (plan_.uid != 0 || plan_.gid != 0 || !plan_.own_users)
    TakeIds(Step::kUser, plan_.drop_groups || !plan_.own_users, plan_.uid, plan_.gid);
  Check(Step::kCapabilities, sys::RawKeepCapabilities(plan_.uid == 0 ? plan_.capabilities : 0));
  Check(Step::kDirectory, ::chdir(plan_.directory));
  if (plan_.command_is_init) DieWithParent(Step::kInitConfine);
  Confine();
  Exec();
}

// Our program is the host's: nobody inside may reach it, or our memory, through /proc/1.
void BoxInit::Hide() { Check(Step::kInitConfine, ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)); }

// The command runs already, hostile as it may be: what fails from here on is our end and with it
// the sandbox's, but no start that failed. What an attack could make fail was done before.
void BoxInit::ServeCommand(pid_t command, int children) {
  ::close(plan_.report);
  plan_.report = -1;
  auto pidfd = static_cast<int>(::syscall(SYS_pidfd_open, command, 0));
  Check(Step::kInitConfine, pidfd);
  LetGoOfProgramsFds();
  if (plan_.terminal) ::close(plan_.terminal_fd);
  Hide();  // Again: in our memory, the command's change of ids may have undone it.
  // The bounding set is for programs, and the filter has no execve.
  Check(Step::kInitConfine, sys::RawKeepCapabilities(1ull << 5 /* CAP_KILL */));
  Serve(pidfd, children, {Step::kInitConfine, Step::kInitConfine, Step::kInitConfine});
}

void BoxInit::Run() {
  Begin(Step::kDescriptors);
  DieWithParent(Step::kParentAlive);
  EnterNetwork();
  int trees[kMaxSentTrees];
  size_t count = WaitForParent(trees);
  EnterCgroup(Step::kEnterCgroup, Step::kCgroupNamespace);
  EnterTime();
  EnterIds();
  DieWithParent(Step::kParentAlive);
  // Keys of the caller's session are not to be had inside.
  long keyring = ::syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, nullptr);
  Check(Step::kKeyring, keyring == -1 && errno == ENOSYS ? 0 : keyring);
  Check(Step::kHostname, ::sethostname(plan_.hostname, std::strlen(plan_.hostname)));
  BuildRoot(plan_, std::span(trees).first(count), *this);
  MakeTerminal();
  if (plan_.command_is_init) RunCommand();
  int children = WatchChildren(Step::kInitConfine);
  Hide();
  std::fill(plan_.own_words.begin(), plan_.own_words.end(), '\0');
  // Until it executes, it works in our memory and we stand still: a copy would be made for a few
  // system calls only. RunCommand() does not return, and writes nothing that we read afterwards.
  pid_t command = ::vfork();  // NOLINT(clang-analyzer-security.insecureAPI.vfork): as said.
  Check(Step::kFork, command);
  if (command == 0) RunCommand();
  ServeCommand(command, children);
}

}  // namespace

void RunInit(Plan& plan) { BoxInit(plan).Run(); }

}  // namespace msb::box
