// SPDX-License-Identifier: Apache-2.0
// Runs commands by turns and prints what each took, from posix_spawn() to the end of it: what an
// interpreter adds to a process would hide the half of a few milliseconds.
//
//   turns RUNS COMMAND [ARGS] [:: COMMAND [ARGS]]...
//
// A line for each turn, the nanoseconds of each command in their order; "{}" in an argument is the
// number of the turn. Each turn runs them in another order, the same in each run of this program:
// the kernel still takes down what the one before left, and that is to be everybody's burden alike.
// A command that does not exit with 0 ends it all, and is named by its place.

#include <spawn.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <random>
#include <string>
#include <vector>

namespace {

using Words = std::vector<std::string>;

int64_t Now() {
  timespec now;
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

// Nanoseconds, or -1.
int64_t Once(const Words& words, int turn, const posix_spawn_file_actions_t& streams) {
  std::string number = std::to_string(turn);
  Words filled = words;
  std::vector<char*> arguments;
  for (std::string& word : filled) {
    size_t place = word.find("{}");
    if (place != std::string::npos) word.replace(place, 2, number);
    arguments.push_back(word.data());
  }
  arguments.push_back(nullptr);
  int64_t began = Now();
  pid_t child = 0;
  if (::posix_spawnp(&child, arguments[0], &streams, nullptr, arguments.data(), environ) != 0)
    return -1;
  int status = 0;
  if (::waitpid(child, &status, 0) != child) return -1;
  int64_t took = Now() - began;
  return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? took : -1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fputs("usage: turns RUNS COMMAND [ARGS] [:: COMMAND [ARGS]]...\n", stderr);
    return 125;
  }
  std::vector<Words> commands(1);
  for (int i = 2; i < argc; i++) {
    if (std::strcmp(argv[i], "::") == 0)
      commands.emplace_back();
    else
      commands.back().emplace_back(argv[i]);
  }
  posix_spawn_file_actions_t streams;
  ::posix_spawn_file_actions_init(&streams);
  ::posix_spawn_file_actions_addopen(&streams, 0, "/dev/null", 0, 0);
  ::posix_spawn_file_actions_addopen(&streams, 1, "/dev/null", 1, 0);
  int runs = std::atoi(argv[1]);
  std::mt19937 chance(1);
  std::vector<size_t> order(commands.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::vector<int64_t> times(commands.size());
  for (int turn = 0; turn < runs; turn++) {
    std::shuffle(order.begin(), order.end(), chance);
    for (size_t i : order) {
      int64_t took = commands[i].empty() ? -1 : Once(commands[i], turn, streams);
      if (took < 0) {
        std::fprintf(stderr, "turns: command %zu failed in turn %d\n", i, turn);
        return 1;
      }
      times[i] = took;
    }
    for (size_t i = 0; i < times.size(); i++)
      std::printf("%s%" PRId64, i == 0 ? "" : " ", times[i]);
    std::printf("\n");
  }
  return 0;
}
