// SPDX-License-Identifier: Apache-2.0
// What a system call costs where this runs, and a process that waits to be measured.
//
//   calls              nanoseconds of getppid(), which a filter allows whatever its arguments are,
//   and
//                      of ioctl(), prctl() and personality(), whose arguments ours looks at
//   calls one          the same, under a filter of one instruction that allows all
//   calls wait         waits to be killed

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstring>

namespace {

constexpr int kCalls = 200'000;

// Of the processor, which others may have in between.
int64_t Now() {
  timespec now;
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

template <typename Call>
double Nanoseconds(Call call) {
  int64_t began = Now();
  for (int i = 0; i < kCalls; i++) call();
  return static_cast<double>(Now() - began) / kCalls;
}

bool AllowAll() {
  sock_filter allow[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  sock_fprog program{1, allow};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[1], "wait") == 0) return ::pause();
  if (argc > 1 && std::strcmp(argv[1], "one") == 0 && !AllowAll()) {
    std::perror("calls: a filter of one instruction");
    return 1;
  }
  // Each fails or asks at once, so that the filter's part is not lost in the call's own.
  double plain = Nanoseconds([] { ::syscall(SYS_getppid); });
  double controlled = Nanoseconds([] { ::syscall(SYS_ioctl, -1, FIONREAD, nullptr); });
  double asked = Nanoseconds([] { ::syscall(SYS_prctl, PR_GET_DUMPABLE, 0, 0, 0, 0); });
  double person = Nanoseconds([] { ::syscall(SYS_personality, 0xffffffff); });
  std::printf("%.2f %.2f %.2f %.2f\n", plain, controlled, asked, person);
  return 0;
}
