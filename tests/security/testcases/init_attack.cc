// SPDX-License-Identifier: Apache-2.0
// A command whose first act is against PID 1, before that has settled: no descriptor more for it.

#include <errno.h>
#include <sys/resource.h>
#include <unistd.h>

int main() {
  rlimit none{};
  bool done = ::prlimit(1, RLIMIT_NOFILE, &none, nullptr) == 0;
  const char* said = done ? "done\n" : errno == EPERM ? "EPERM\n" : "other\n";
  return ::write(1, said, 5 + (said[0] == 'E' || said[0] == 'o')) > 0 ? 0 : 1;
}
