// SPDX-License-Identifier: Apache-2.0
// clone3() with CLONE_VM | CLONE_VFORK: no page tables are copied, the child joins its cgroup at
// birth, and the failing step comes back through memory. The agent waits for the exec, so a program
// on a file system that hangs holds it up; the price of not copying the agent for each exec.

#include "agent/spawn.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/check.h"
#include "base/text.h"
#include "sys/file.h"

namespace msb::agent {
namespace {

constexpr size_t kStackSize = 64 * 1024;
constexpr const char* kDefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
// Like containerd's: programs that need more raise it, programs that walk all numbers stay quick.
constexpr rlimit kOpenFiles = {1024, 524288};

// What the child reads and writes. Plain pointers into the parent's memory, which stands still.
struct Child {
  const char* const* paths;
  char** argv;  // argv[-1] is free: the script's place when /bin/sh runs it.
  char** env;
  const SpawnPlan* plan;
  rlimit open_files;
  bool change_user;
  bool set_groups;
  SpawnStep step;
  int error;
  bool found;
};

// SAFETY: runs on its own stack in the parent's memory while the parent waits, and leaves by exec
// or _exit only. It allocates nothing, takes no lock and changes only *child, errno and its own
// kernel state.
[[noreturn]] __attribute__((no_sanitize("thread"))) void Fail(Child* child, SpawnStep step) {
  child->step = step;
  child->error = errno;
  ::_exit(127);
}

__attribute__((no_sanitize("thread"))) void ExecAny(Child* child) {
  int remembered = ENOENT;
  for (const char* const* path = child->paths; *path != nullptr; ++path) {
    ::execve(*path, child->argv, child->env);
    if (errno == ENOEXEC) {
      // As execvp() does: a script without #! is the shell's.
      child->argv[-1] = const_cast<char*>("/bin/sh");
      char* name = child->argv[0];
      child->argv[0] = const_cast<char*>(*path);
      ::execve("/bin/sh", child->argv - 1, child->env);
      child->argv[0] = name;
      errno = ENOEXEC;
    }
    // ENOENT of a file that is there: its interpreter is not.
    if (errno == ENOENT && ::faccessat(AT_FDCWD, *path, F_OK, 0) == 0) {
      child->found = true;
      errno = ENOENT;
    } else if (errno != ENOENT && errno != ENOTDIR) {
      if (remembered == ENOENT) remembered = errno;
      child->found = true;
      if (errno != EACCES) break;
    }
  }
  errno = remembered;
}

__attribute__((no_sanitize("thread"))) int ChildMain(void* argument) {
  auto* child = static_cast<Child*>(argument);
  const SpawnPlan& plan = *child->plan;
  if (::setsid() == -1) Fail(child, SpawnStep::kSession);
  if (plan.terminal && ::ioctl(plan.stdio[0], TIOCSCTTY, 0) == -1)
    Fail(child, SpawnStep::kTerminal);
  for (int fd = 0; fd < 3; ++fd)
    if (::dup2(plan.stdio[static_cast<size_t>(fd)], fd) == -1) Fail(child, SpawnStep::kStdio);
  // Ours are close-on-exec; what we were started with need not be.
  if (::close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) == -1) Fail(child, SpawnStep::kStdio);
  if (::setrlimit(RLIMIT_NOFILE, &child->open_files) == -1) Fail(child, SpawnStep::kLimits);
  // As root, like Docker: the directory need not be the user's.
  if (::chdir(plan.workdir.c_str()) == -1) Fail(child, SpawnStep::kWorkdir);
  const Identity& who = plan.identity;
  // The raw calls: glibc's change every thread, by a protocol that memory shared with a parent
  // must not see.
  if (child->change_user && ((child->set_groups && ::syscall(SYS_setgroups, who.groups.size(),
                                                             who.groups.data()) == -1) ||
                             ::syscall(SYS_setresgid, who.gid, who.gid, who.gid) == -1 ||
                             ::syscall(SYS_setresuid, who.uid, who.uid, who.uid) == -1))
    Fail(child, SpawnStep::kUser);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ExecAny(child);
  Fail(child, SpawnStep::kExec);
}

// clone3() whose child calls `run(argument)` on the stack that `args` names. glibc has no wrapper.
__attribute__((no_sanitize("thread"))) long Clone3(clone_args* args, int (*run)(void*),
                                                   void* argument) {
#if defined(__x86_64__)
  long result;
  register int (*run_register)(void*) __asm__("r8") = run;
  register void* argument_register __asm__("r9") = argument;
  __asm__ volatile(
      "syscall\n\t"
      "test %%rax, %%rax\n\t"
      "jnz 1f\n\t"
      "xor %%ebp, %%ebp\n\t"
      "mov %%r9, %%rdi\n\t"
      "call *%%r8\n\t"
      "ud2\n"
      "1:"
      : "=a"(result)
      : "a"(SYS_clone3), "D"(args), "S"(sizeof *args), "r"(run_register), "r"(argument_register)
      : "rcx", "r11", "memory");
#elif defined(__aarch64__)
  register long number __asm__("x8") = SYS_clone3;
  register long result __asm__("x0") = reinterpret_cast<long>(args);
  register size_t size __asm__("x1") = sizeof *args;
  register int (*run_register)(void*) __asm__("x9") = run;
  register void* argument_register __asm__("x10") = argument;
  __asm__ volatile(
      "svc #0\n\t"
      "cbnz x0, 1f\n\t"
      "mov x29, xzr\n\t"
      "mov x0, x10\n\t"
      "blr x9\n\t"
      "brk #0\n"
      "1:"
      : "+r"(result)
      : "r"(number), "r"(size), "r"(run_register), "r"(argument_register)
      : "memory");
#endif
  if (result < 0) {
    errno = static_cast<int>(-result);
    return -1;
  }
  return result;
}

rlimit OpenFiles() {
  rlimit limit = kOpenFiles;
  // Outside a machine the hard limit may be lower, and cannot be raised.
  rlimit now{};
  if (::getrlimit(RLIMIT_NOFILE, &now) == 0)
    limit.rlim_max = std::min(limit.rlim_max, now.rlim_max);
  limit.rlim_cur = std::min(limit.rlim_cur, limit.rlim_max);
  return limit;
}

bool MustChange(const Identity& who, bool one_id) {
  bool same = who.uid == ::geteuid() && who.gid == ::getegid();
  // Without privilege the supplementary groups are what they are.
  return !same || (::geteuid() == 0 && !one_id && !who.groups.empty());
}

// user_namespaces(7); a guest that has no /proc at this time has all ids.
bool SetgroupsDenied() {
  auto text = sys::FindFileAt(sys::Cwd(), "/proc/self/setgroups", 64);
  return text && *text && (*text)->starts_with("deny");
}

bool HasKey(const std::vector<std::string>& env, std::string_view key) {
  return std::any_of(env.begin(), env.end(), [&](const std::string& entry) {
    return entry.size() > key.size() && entry.starts_with(key) && entry[key.size()] == '=';
  });
}

std::string_view ValueOf(const std::vector<std::string>& env, std::string_view key) {
  for (const auto& entry : env)
    if (entry.size() > key.size() && entry.starts_with(key) && entry[key.size()] == '=')
      return std::string_view(entry).substr(key.size() + 1);
  return {};
}

std::vector<std::string> Candidates(const std::string& program, std::string_view path) {
  if (program.empty()) return {};
  if (program.find('/') != std::string::npos) return {program};
  std::vector<std::string> candidates;
  for (auto& directory : Split(path, ':')) {
    // An empty entry is the working directory.
    candidates.push_back(directory.empty() ? Cat("./", program) : Cat(directory, "/", program));
  }
  return candidates;
}

std::vector<char*> Pointers(const std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  // execve() does not write to them.
  for (const auto& text : strings) pointers.push_back(const_cast<char*>(text.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace

SpawnPlan MakePlan(const protocol::ExecSpec& spec, Identity identity) {
  SpawnPlan plan;
  plan.argv = spec.argv;
  plan.env = spec.env;
  plan.terminal = spec.terminal;
  if (!HasKey(plan.env, "PATH")) plan.env.push_back(Cat("PATH=", kDefaultPath));
  if (!HasKey(plan.env, "HOME")) plan.env.push_back(Cat("HOME=", identity.home));
  if (!HasKey(plan.env, "USER") && !identity.name.empty())
    plan.env.push_back(Cat("USER=", identity.name));
  if (spec.terminal && !HasKey(plan.env, "TERM")) plan.env.push_back("TERM=xterm");
  plan.paths = Candidates(spec.argv[0], ValueOf(plan.env, "PATH"));
  plan.workdir = spec.workdir.empty() ? "/" : spec.workdir;
  plan.identity = std::move(identity);
  return plan;
}

Spawner::Spawner()
    : stack_(::mmap(nullptr, kStackSize, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0)),
      one_id_(SetgroupsDenied()) {
  CHECK(stack_ != MAP_FAILED);
}

Spawner::~Spawner() { ::munmap(stack_, kStackSize); }

Spawned Spawner::Spawn(const SpawnPlan& plan) {
  auto argv = Pointers(plan.argv);
  argv.insert(argv.begin(), nullptr);
  auto env = Pointers(plan.env);
  auto paths = Pointers(plan.paths);
  Child child{.paths = paths.data(),
              .argv = argv.data() + 1,
              .env = env.data(),
              .plan = &plan,
              .open_files = OpenFiles(),
              .change_user = MustChange(plan.identity, one_id_),
              .set_groups = !one_id_,
              .step = SpawnStep::kNone,
              .error = 0,
              .found = false};

  clone_args args{};
  args.flags = CLONE_VM | CLONE_VFORK;
  args.exit_signal = SIGCHLD;
  // SAFETY: the kernel takes the address as a number.
  args.stack = reinterpret_cast<uint64_t>(stack_);
  args.stack_size = kStackSize;
  if (plan.cgroup_fd >= 0) {
    args.flags |= CLONE_INTO_CGROUP;
    args.cgroup = static_cast<uint64_t>(plan.cgroup_fd);
  }
  // A signal between clone and exec would run on the shared memory.
  sigset_t all, before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  long pid = -1;
  errno = ENOSYS;
  if (clone3_works_) pid = Clone3(&args, ChildMain, &child);
  if (pid == -1 && errno == ENOSYS && plan.cgroup_fd < 0) {
    clone3_works_ = false;
    pid = ::clone(ChildMain, static_cast<char*>(stack_) + kStackSize,
                  CLONE_VM | CLONE_VFORK | SIGCHLD, &child);
  }
  int error = errno;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);

  if (pid == -1) return {.step = SpawnStep::kClone, .error = error};
  if (child.step == SpawnStep::kNone) return {.pid = static_cast<pid_t>(pid)};
  // The child is a zombie; the agent's reaper takes it like any other.
  return {.step = child.step, .error = child.error, .found = child.found, .one_id = one_id_};
}

protocol::ExecFailed Describe(const Spawned& failed, const SpawnPlan& plan) {
  using protocol::FailReason;
  const char* text = strerrordesc_np(failed.error);
  std::string why = text != nullptr ? text : "unknown error";
  protocol::ExecFailed answer{.reason = FailReason::kInternal, .error = failed.error};
  const std::string& program = plan.argv[0];
  switch (failed.step) {
    case SpawnStep::kExec:
      if (failed.error == ENOENT && !failed.found) {
        answer.reason = FailReason::kCommandNotFound;
        answer.message = program.find('/') == std::string::npos
                             ? Cat(program, ": command not found")
                             : Cat(program, ": ", why);
        break;
      }
      answer.reason = failed.error == EAGAIN || failed.error == ENOMEM ? FailReason::kResources
                                                                       : FailReason::kNotExecutable;
      answer.message =
          Cat(program, ": ", failed.error == ENOENT ? "its interpreter is not there" : why);
      break;
    case SpawnStep::kWorkdir:
      answer.reason = FailReason::kBadWorkdir;
      answer.message = Cat("working directory ", plan.workdir, ": ", why);
      break;
    case SpawnStep::kClone:
      answer.reason = FailReason::kResources;
      answer.message = Cat("clone3: ", why);
      break;
    case SpawnStep::kSession:
      answer.message = Cat("setsid: ", why);
      break;
    case SpawnStep::kTerminal:
      answer.message = Cat("controlling terminal: ", why);
      break;
    case SpawnStep::kStdio:
      answer.message = Cat("stdio: ", why);
      break;
    case SpawnStep::kUser:
      answer.message = Cat("change to uid ", plan.identity.uid, ": ", why);
      if (failed.one_id)
        answer.message += ": an ordinary user's process sandbox has one id; use --user root";
      break;
    case SpawnStep::kLimits:
      answer.message = Cat("open files limit: ", why);
      break;
    case SpawnStep::kNone:
      break;
  }
  return answer;
}

}  // namespace msb::agent
