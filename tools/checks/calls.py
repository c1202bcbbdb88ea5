# SPDX-License-Identifier: Apache-2.0
"""Checks that raw system calls stay in src/sys, where they return Result and are close-on-exec; and that no TRY()
stands in a braced initialiser behind another member: g++ 12 and clang 14 never destroy the members that were made
before it when it returns, so a descriptor leaks."""

import re

import _tree

FORBIDDEN = re.compile(
    r"(?<![\w.>:])(?:::(?:open|openat|creat|close|socket|socketpair|pipe|pipe2|dup|dup2|dup3|accept|"
    r"accept4|mmap|execve?|waitpid)|"
    r"(?:::)?(?:fork|vfork|system|popen|tmpnam|tempnam|mktemp|gets|strcpy|sprintf|"
    r"pthread_exit|dlopen|getaddrinfo|gethostbyname|getpwnam|getpwuid|getgrnam|getgrgid|iconv_open|setlocale))\s*\("
    r"|std::filesystem::remove_all|\.detach\(\)|\busing\s+namespace\s+(?!std::\w*literals)")
COMMENT = re.compile(r"//.*|\"(?:\\.|[^\"\\])*\"")
# What may own something: not a number, a name of an enumerator, or a plain variable.
MEMBER = re.compile(r"[({]")
# Where raw calls are right, which, and why.
ALLOWED = {
    "src/base/fd.h": ("::close", "UniqueFd is the one owner of descriptors, and lies below sys"),
    "src/jail/init.cc": ("::openat ::close ::dup2", "runs between clone3 and exec: nothing allocated"),
    "src/jail/init_serve.cc": ("::close", "as init.cc"),
    "src/jail/jail_init.cc": ("::open ::close ::dup3", "as init.cc"),
    "src/jail/box/init.cc": ("::open ::close ::execve ::socket ::vfork", "as jail/init.cc"),
    "src/jail/box/root.cc": ("::openat ::close", "as jail/init.cc"),
    "src/network/keeper.cc": ("::open ::dup2 ::fork ::execve ::waitpid", "processes that only wait, or become another program"),
    "src/agent/spawn.cc": ("::execve ::dup2 ::mmap", "the child between vfork and exec, and its stack"),
    "src/agent/sandboxed.cc": ("::dup2", "its channel comes as descriptor 0, which no UniqueFd owns"),
    "src/agent/guest.cc": ("::open ::socket", "PID 1: fills descriptors 0 to 2; brings up lo by ioctl"),
    "src/programs/msb/main.cc": ("::open", "fills descriptors 0 to 2 before anything else opens one"),
    "src/programs/msb/image_commands.cc": ("::execv", "becomes msb-image"),
    "src/sandbox/supervisor_setup.cc": ("::dup2", "replaces its own stderr, which no UniqueFd owns"),
}


def problems_of(file):
    path = _tree.name(file)
    for number, line in enumerate(file.read_text().splitlines(), start=1):
        for match in FORBIDDEN.finditer(COMMENT.sub("", line)):
            call = match.group(0).rstrip("( ")
            if call not in ALLOWED.get(path, ("", ""))[0].split():
                yield f"{path}:{number}: {call} outside src/sys: {line.strip()}"


def leaks_of(file):
    text = re.sub(COMMENT, lambda match: " " * len(match.group(0)), file.read_text())
    begun = []
    for place, sign in enumerate(text):
        if sign == "{":
            begun.append(place)
        elif sign == "}" and begun:
            first = begun.pop()
            inside = text[first + 1:place]
            last = inside.rfind("TRY(")
            # Statements have semicolons; what a first member is made of is made before it.
            if ";" not in inside and last != -1 and "," in inside[:last] and MEMBER.search(inside[:last]):
                yield f"{_tree.name(file)}:{text.count(chr(10), 0, first) + 1}: a TRY() behind another member: take it out of the braces"


def main():
    problems = []
    for file in _tree.files("src/*.cc", "src/*.h"):
        path = _tree.name(file)
        problems.extend(leaks_of(file))
        # Tests make the very objects that the code under test takes.
        if not path.startswith("src/sys/") and not re.search(r"(_test|_fuzz|_bench|_test_util)\.(cc|h)$", path):
            problems.extend(problems_of(file))
    _tree.report(problems)


main()
