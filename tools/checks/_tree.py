# SPDX-License-Identifier: Apache-2.0
"""What the checks share: the files of the tree, and how problems are reported."""

import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def files(*patterns):
    """Tracked files and those that could be, without what .gitignore names."""
    out = subprocess.run(["git", "ls-files", "-coz", "--exclude-standard", "--", *patterns],
                         cwd=ROOT, check=True, capture_output=True).stdout
    names = sorted(set(out.decode().split("\0")) - {""})
    return [ROOT / name for name in names if (ROOT / name).is_file()]


def name(path):
    return str(path.relative_to(ROOT))


def text(path):
    """The file as text, or None when it is not text."""
    try:
        return path.read_text()
    except UnicodeDecodeError:
        return None


def report(problems):
    """Ends the check: one line a problem on stderr, exit 1 when there is any."""
    for problem in problems:
        print(problem, file=sys.stderr)
    sys.exit(1 if problems else 0)
