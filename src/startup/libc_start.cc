// SPDX-License-Identifier: Apache-2.0
// The start of a static program, in the place of that of glibc 2.36 (csu/libc-start.c), without
// what it asks of the processor.
//
// It asks some 75 times by CPUID, which in a virtual machine is an exit to the hypervisor each:
// 0.55 ms of each start where one takes 7 us, where the rest of a start takes 0.1 ms. What it
// learns there chooses between copies of memcpy() and the like. Here nothing is learnt, and the
// choice falls on those for any x86_64: what lies in the nearest cache is copied at two thirds of
// the speed, the rest as fast.
//
// Left out too, and so not to be used in a static program of ours (tools/checks/calls.py):
// pthread_exit() of the first thread, and libraries that are loaded late, by dlopen() or by what
// looks names up.
//
// Runs before relocation, before thread-local storage and before the stack's canary: no call
// through a pointer that is relocated, no canary, nothing that the compiler would make a memset()
// of. The names are the C library's own, hidden to programs that link it dynamically. The build
// takes this for the one version that it was written for, and the C library's for any other.

#include <elf.h>
#include <stdlib.h>

#include <cstdint>

#if __GLIBC__ == 2 && __GLIBC_MINOR__ == 36
// The C library's names.
// NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp,readability-identifier-naming)

using Main = int(int, char**, char**);
using Initialiser = void(int, char**, char**);

extern "C" {

#define HIDDEN __attribute__((visibility("hidden")))

// What the processor's caches would be asked for, as the C library has it for one that says
// nothing.
long __x86_data_cache_size = 32 * 1024;
long __x86_data_cache_size_half = 32 * 1024 / 2;
long __x86_shared_cache_size = 1024 * 1024;
long __x86_shared_cache_size_half = 1024 * 1024 / 2;
long __x86_shared_non_temporal_threshold = 1024 * 1024 * 3 / 4;
long __x86_rep_movsb_threshold = 2048;
long __x86_rep_movsb_stop_threshold = 1024 * 1024 * 3 / 4;
long __x86_rep_stosb_threshold = 2048;
int __x86_string_control = 0;

HIDDEN extern char** __environ;
HIDDEN extern void* __libc_stack_end;
HIDDEN extern int __libc_enable_secure;
HIDDEN extern uintptr_t* _dl_random;
HIDDEN void _dl_aux_init(Elf64_auxv_t*);
HIDDEN void __tunables_init(char**);
HIDDEN void _dl_relocate_static_pie();
HIDDEN void __libc_setup_tls();
HIDDEN void __libc_early_init(bool);
HIDDEN void __libc_init_first(int, char**, char**);
HIDDEN void __libc_check_standard_fds();
HIDDEN int __cxa_atexit(void (*)(void*), void*, void*);
HIDDEN void _init();
HIDDEN void _fini();
// The linker's.
HIDDEN extern Initialiser *__preinit_array_start[], *__preinit_array_end[];
HIDDEN extern Initialiser *__init_array_start[], *__init_array_end[];
HIDDEN extern void (*__fini_array_start[])();
HIDDEN extern void (*__fini_array_end[])();

static void Finish(void*) {
  for (auto** end = __fini_array_end; end != __fini_array_start;) (*--end)();
  _fini();
}

[[noreturn]] HIDDEN void __libc_start_main(Main* main, int argc, char** argv, Main*, void (*)(),
                                           void (*loaders_end)(), void* stack_end) {
  char** environment = argv + argc + 1;
  __environ = environment;
  __libc_stack_end = stack_end;
  while (*environment++ != nullptr) {
  }
  _dl_aux_init(reinterpret_cast<Elf64_auxv_t*>(environment));
  __tunables_init(__environ);
  _dl_relocate_static_pie();
  __libc_setup_tls();
  // The canary, whose first byte ends a string, and the key of pointers: of the thread's control
  // block (sysdeps/x86_64/nptl/tls.h).
  uintptr_t canary = _dl_random[0] & ~uintptr_t{0xff};
  uintptr_t key = _dl_random[1];
  __asm__ volatile("movq %0, %%fs:0x28" : : "r"(canary));
  __asm__ volatile("movq %0, %%fs:0x30" : : "r"(key));
  if (loaders_end != nullptr)
    __cxa_atexit(reinterpret_cast<void (*)(void*)>(loaders_end), nullptr, nullptr);
  __libc_early_init(true);
  __libc_init_first(argc, argv, __environ);
  __cxa_atexit(Finish, nullptr, nullptr);
  if (__libc_enable_secure != 0) __libc_check_standard_fds();
  for (auto** one = __preinit_array_start; one != __preinit_array_end; one++)
    (*one)(argc, argv, __environ);
  _init();
  for (auto** one = __init_array_start; one != __init_array_end; one++)
    (*one)(argc, argv, __environ);
  ::exit(main(argc, argv, __environ));
}
}

// NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp,readability-identifier-naming)
#endif
