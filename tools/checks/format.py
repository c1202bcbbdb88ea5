# SPDX-License-Identifier: Apache-2.0
"""Checks that the C++ sources are formatted as clang-format 14 does it (tools/dev format)."""

import concurrent.futures
import subprocess

import _tree


def unformatted(file):
    done = subprocess.run(["clang-format-14", "--dry-run", "-Werror", str(file)], capture_output=True,
                          cwd=_tree.ROOT)
    return f"{_tree.name(file)}: not formatted (tools/dev format)" if done.returncode else None


def main():
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        answers = pool.map(unformatted, _tree.files("*.cc", "*.h"))
        _tree.report([answer for answer in answers if answer])


main()
