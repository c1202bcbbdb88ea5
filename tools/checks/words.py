# SPDX-License-Identifier: Apache-2.0
"""Checks what must not be in the tree: paths of somebody's machine, hosts of package registries,
marks of unfinished work without an issue, large files, source files that want splitting."""

import re

import _tree

# Written so that the patterns do not find themselves.
PATTERNS = {
    "a path of one machine": r"(?<![\w.])/(?:wo[r]k|fa[r]m|tmp/b[r]ief|home/[a-z]+/src)/",
    "a package registry's host":
        r"https?://[a-z0-9.-]*(?:debia[n]|npmj[s]|pyp[i]|pythonhoste[d]|crate[s]|golan[g]|mave[n])[a-z.]*",
    "unfinished work without an issue": r"\b(?:TOD[O](?!\(issue-\d+\))|FIXM[E]|XX[X])\b",
}
LARGE_BYTES = 400_000
LONG_LINES = 800


def main():
    problems = []
    for file in _tree.files():
        path = _tree.name(file)
        if file.stat().st_size > LARGE_BYTES:
            problems.append(f"{path}: {file.stat().st_size} bytes: a build product?")
        text = _tree.text(file)
        if text is None or path.startswith(("fuzz/corpus/", "LICENSE")):
            continue
        if path.startswith("src/") and text.count("\n") > LONG_LINES:
            problems.append(f"{path}: {text.count(chr(10))} lines: split it")
        for number, line in enumerate(text.splitlines(), start=1):
            for what, pattern in PATTERNS.items():
                if re.search(pattern, line):
                    problems.append(f"{path}:{number}: {what}: {line.strip()[:100]}")
    _tree.report(problems)


main()
