// SPDX-License-Identifier: Apache-2.0
// Tells what a start (src/startup) has to have done before main(), a line each.

#include <elf.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/auxv.h>

#include <cerrno>
#include <cinttypes>
#include <cstdint>
#include <cstdio>

namespace {

int g_constructed = 0;
struct Early {
  Early() { g_constructed = 1; }
  ~Early() { std::puts("destructed"); }
} g_early;

thread_local int t_own = 7;

void* InThread(void*) {
  errno = 5;
  t_own++;
  return &t_own;
}

uint64_t Word(long offset) {
  uint64_t word = 0;
  __asm__("movq %%fs:(%1), %0" : "=r"(word) : "r"(offset));
  return word;
}

}  // namespace

int main(int argc, char** argv) {
  ::atexit([] { std::puts("at exit"); });
  errno = 0;
  pthread_t thread{};
  void* theirs = nullptr;
  bool threads = ::pthread_create(&thread, nullptr, InThread, nullptr) == 0 &&
                 ::pthread_join(thread, &theirs) == 0 && theirs != &t_own;
  std::printf("canary %016" PRIx64 "\npointer key %016" PRIx64 "\n", Word(0x28), Word(0x30));
  std::printf("constructed %d\nthreads %d\nerrno %d\nown %d\n", g_constructed, threads, errno,
              t_own);
  std::printf("arguments %d %s\nenvironment %s\nsecure %lu\n", argc, argv[argc - 1],
              ::getenv("PROBE"), ::getauxval(AT_SECURE));
  return 3;
}
