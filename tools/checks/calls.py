# SPDX-License-Identifier: Apache-2.0
"""Checks that raw system calls stay in src/sys, where they return Result and are close-on-exec."""

import re

import _tree

FORBIDDEN = re.compile(
    r"(?<![\w.>:])(?:::(?:open|openat|creat|close|socket|socketpair|pipe|pipe2|dup|dup2|dup3|accept|"
    r"accept4|mmap|execve?|waitpid)|"
    r"(?:::)?(?:fork|vfork|system|popen|tmpnam|tempnam|mktemp|gets|strcpy|sprintf))\s*\("
    r"|std::filesystem::remove_all|\.detach\(\)|\busing\s+namespace\s+(?!std::\w*literals)")
COMMENT = re.compile(r"//.*|\"(?:\\.|[^\"\\])*\"")
# Path and call: why it is right there.
ALLOWED = {
    ("src/base/fd.h", "::close"): "UniqueFd is the one owner of descriptors, and lies below sys",
}


def problems_of(file):
    path = _tree.name(file)
    for number, line in enumerate(file.read_text().splitlines(), start=1):
        for match in FORBIDDEN.finditer(COMMENT.sub("", line)):
            call = match.group(0).rstrip("( ")
            if (path, call) not in ALLOWED:
                yield f"{path}:{number}: {call} outside src/sys: {line.strip()}"


def main():
    problems = []
    for file in _tree.files("src/*.cc", "src/*.h"):
        path = _tree.name(file)
        # Tests make the very objects that the code under test takes.
        if not path.startswith("src/sys/") and not re.search(r"(_test|_fuzz|_bench|_test_util)\.(cc|h)$", path):
            problems.extend(problems_of(file))
    _tree.report(problems)


main()
