# SPDX-License-Identifier: Apache-2.0
"""Checks docs/reference/cli.md against what the release build's `msb help` prints; --write makes it."""

import pathlib
import re
import subprocess
import sys

import _tree

PAGE = _tree.ROOT / "docs/reference/cli.md"
MSB = _tree.ROOT / "build/release/bin/msb"
HEAD = """# Commands

Made of the program's own help by `tools/checks/cli_reference.py --write`; `tools/test` compares.
"""


def help_of(*command):
    done = subprocess.run([MSB, "help", *command], capture_output=True, text=True, timeout=20,
                          env={"PATH": "/usr/bin:/bin", "TERM": "dumb", "COLUMNS": "100"})
    if done.returncode:
        sys.exit(f"msb help {' '.join(command)}: {done.returncode}: {done.stderr}")
    return done.stdout.rstrip()


def commands(overview):
    """The names at the beginning of the overview's indented lines."""
    names = []
    for line in overview.splitlines():
        match = re.match(r"  ((?:image |bench )?[a-z]+)(?:, [a-z]+)*(?:  |$)", line)
        if match and match.group(1) not in names and match.group(1) not in ("msb", "help"):
            names.append(match.group(1))
    return names


def page():
    overview = help_of()
    parts = [HEAD, f"```\n{overview}\n```\n"]
    for name in commands(overview):
        parts.append(f"## msb {name}\n\n```\n{help_of(*name.split())}\n```\n")
    return "\n".join(parts)


def main():
    if not MSB.exists():
        sys.exit(f"{_tree.name(MSB)} is not built: tools/dev build release msb")
    if "--write" in sys.argv:
        PAGE.write_text(page())
    elif not PAGE.exists() or PAGE.read_text() != page():
        _tree.report([f"{_tree.name(PAGE)} differs from msb help: tools/checks/cli_reference.py --write"])


main()
