# SPDX-License-Identifier: Apache-2.0
"""Checks that every source file names its licence in the first lines, once."""

import _tree

# A file that git may hold but that takes no comment, or whose bytes are the test.
PATTERNS = ["*.cc", "*.h", "*.py", "*.cmake", "*.sh", "CMakeLists.txt", "*/CMakeLists.txt", "tools/*",
            "guest/*", "bench/*", ".ci/*", "tests/*"]
WITHOUT = (".txt", ".md", ".json", ".patch", ".hex", ".tar", ".csv")
MARK = "SPDX-License" + "-Identifier:"


def main():
    problems = []
    for file in _tree.files(*PATTERNS):
        path = _tree.name(file)
        text = _tree.text(file)
        if text is None or (path.endswith(WITHOUT) and not path.endswith("CMakeLists.txt")):
            continue
        lines = text.splitlines()
        is_script = bool(lines) and lines[0].startswith("#!")
        is_code = path.endswith((".cc", ".h", ".py", ".cmake", ".sh", "CMakeLists.txt"))
        if (is_script or is_code) and not any(MARK in line for line in lines[:2]):
            problems.append(f"{path}: no {MARK} line")
    _tree.report(problems)


main()
