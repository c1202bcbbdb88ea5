# SPDX-License-Identifier: Apache-2.0
# Warnings and hardening: one interface target that every target of ours links, but what runs
# without an operating system, which takes the warnings only.
set(MSB_WARNINGS -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wnon-virtual-dtor
  -Woverloaded-virtual -Wimplicit-fallthrough -Wsuggest-override -Wformat=2 -Wundef -Wswitch-enum
  -Werror)
add_library(msb_flags INTERFACE)
# -iquote, not -I: "sys/socket.h" is our module's header and <sys/socket.h> the C library's.
target_compile_options(msb_flags INTERFACE -iquote${CMAKE_SOURCE_DIR}/src)
target_compile_definitions(msb_flags INTERFACE _GLIBCXX_ASSERTIONS FMT_HEADER_ONLY
                                               MSB_VERSION="${PROJECT_VERSION}")
target_compile_options(msb_flags INTERFACE ${MSB_WARNINGS}
  -fstack-protector-strong -fstack-clash-protection -fcf-protection=full
  -ftrivial-auto-var-init=zero -fno-omit-frame-pointer)
target_link_options(msb_flags INTERFACE -Wl,-z,relro,-z,now,-z,noexecstack)

if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  # Statement expressions are the one extension in use. clang 14 asks for this switch to zero-init.
  target_compile_options(msb_flags INTERFACE -Wno-gnu-statement-expression
    -Wno-gnu-zero-variadic-macro-arguments -Wno-c99-designator -Wno-missing-field-initializers
    -enable-trivial-auto-var-init-zero-knowing-it-will-be-removed-from-clang)
else()
  # Options structs are called with designated initialisers that leave the defaults out; and GCC 12
  # believes at -O1 that the error side of a Result's variant may be read when it is not there.
  target_compile_options(msb_flags INTERFACE -Wno-missing-field-initializers
                                             -Wno-maybe-uninitialized)
endif()

if(MSB_SANITIZE)
  target_compile_options(msb_flags INTERFACE -fsanitize=${MSB_SANITIZE}
                                             -fno-sanitize-recover=all)
  target_link_options(msb_flags INTERFACE -fsanitize=${MSB_SANITIZE})
  target_compile_definitions(msb_flags INTERFACE MSB_SANITIZED=1)
else()
  # Fortify needs the optimiser, and says so with a warning that -Werror makes fatal.
  target_compile_options(msb_flags INTERFACE $<$<NOT:$<CONFIG:Debug>>:-U_FORTIFY_SOURCE>
                                             $<$<NOT:$<CONFIG:Debug>>:-D_FORTIFY_SOURCE=3>)
endif()

if(MSB_TIDY)
  find_program(MSB_CLANG_TIDY NAMES clang-tidy-19 REQUIRED)
endif()
