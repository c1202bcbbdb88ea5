// SPDX-License-Identifier: Apache-2.0
// msb-agent: the first process of a guest, whose initramfs holds nothing else and calls it /init;
// or, with --sandbox, of a process sandbox.

#include <unistd.h>

#include <cstring>

#include "agent/guest.h"
#include "agent/sandboxed.h"
#include "base/text.h"

int main(int argc, char** argv) {
  auto is = [&](int at, const char* word) { return at < argc && std::strcmp(argv[at], word) == 0; };
  bool first = ::getpid() == 1;
  if (first && is(1, "--sandbox")) {
    msb::agent::SandboxedOptions options;
    if (is(2, "--memory-events") && argc > 3)
      options.memory_events = msb::ParseNumber<int>(argv[3]).value_or(-1);
    msb::agent::RunSandboxed(options);
  }
  if (first && !is(1, "--version")) msb::agent::RunGuest();
  constexpr char kText[] =
      "msb-agent " MSB_VERSION ": runs as the first process of a sandbox, which msb starts\n";
  [[maybe_unused]] ssize_t n = ::write(STDOUT_FILENO, kText, sizeof kText - 1);
  return is(1, "--version") ? 0 : 125;
}
