# SPDX-License-Identifier: Apache-2.0
"""Checks the scripts: shellcheck on those of sh and bash, syntax of those of Python, and that each
tool of tools/ answers --help."""

import ast
import os
import subprocess

import _tree


def kind(file):
    text = _tree.text(file) or ""
    first = text.partition("\n")[0]
    if file.suffix == ".py" or (first.startswith("#!") and "python" in first):
        return "python"
    if first.startswith("#!") and ("bash" in first or first.endswith("/sh")):
        return "shell"
    return None


def main():
    problems = []
    shells = []
    for file in _tree.files("tools", "guest", "bench", "tests", ".ci", "sdk", "docker"):
        what = kind(file)
        if what == "shell":
            shells.append(file)
        elif what == "python":
            try:
                ast.parse(file.read_text(), str(file))
            except SyntaxError as error:
                problems.append(f"{_tree.name(file)}: {error}")
        if what and file.parent == _tree.ROOT / "tools":
            answer = subprocess.run([file, "--help"], capture_output=True, timeout=10,
                                    stdin=subprocess.DEVNULL) if os.access(file, os.X_OK) else None
            if answer is None or answer.returncode != 0 or b"usage" not in answer.stdout.lower():
                problems.append(f"{_tree.name(file)}: not executable or does not answer --help")
    # SC1007: `A= B=1` is meant as it stands.
    checked = subprocess.run(["shellcheck", "--severity=warning", "--exclude=SC1007", "--format=gcc", "--external-sources",
                              *map(str, shells)], capture_output=True, text=True, cwd=_tree.ROOT)
    problems.extend(checked.stdout.replace(f"{_tree.ROOT}/", "").splitlines())
    if checked.returncode and not checked.stdout:
        problems.append(checked.stderr.strip())
    _tree.report(problems)


main()
