// SPDX-License-Identifier: Apache-2.0
// msb-agent: the first process of a guest. Its initramfs holds nothing else; it is called /init.

#include <unistd.h>

#include <cstring>

#include "agent/guest.h"

int main(int argc, char** argv) {
  if (::getpid() == 1 && !(argc > 1 && std::strcmp(argv[1], "--version") == 0))
    msb::agent::RunGuest();
  constexpr char kText[] = "msb-agent " MSB_VERSION ": runs as the first process of a guest\n";
  [[maybe_unused]] ssize_t n = ::write(STDOUT_FILENO, kText, sizeof kText - 1);
  return argc > 1 && std::strcmp(argv[1], "--version") == 0 ? 0 : 125;
}
