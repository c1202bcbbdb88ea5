# SPDX-License-Identifier: Apache-2.0
"""Every line that microbox itself writes to stderr is a line for people, or one of JSON under --log-format json."""

import json
import pathlib
import shutil
import subprocess
import tempfile

import pytest
from conftest import BIN, HOMES
from test_limits import without_cgroups

ROOT = pytest.mark.root
# No limits: an ordinary user's that cannot be set would be named.
PLAIN = ["--memory", "0", "--cpus", "0", "--pids", "0"]
HOG = "x=x; while :; do x=$x$x; done"


@pytest.fixture(scope="module")
def tree():
    with tempfile.TemporaryDirectory(prefix="msb-box-", dir=HOMES) as folder:
        folder = pathlib.Path(folder)
        folder.chmod(0o755)
        (folder / "bin").mkdir()
        shutil.copy(shutil.which("busybox"), folder / "bin/busybox")
        for name in ("sh", "sleep", "true", "yes"):
            (folder / "bin" / name).symlink_to("busybox")
        yield folder


# What is said, how the run ends, its words; the tree stands for TREE.
NOTICES = [
    ("unknown option --nosuch", 125, ["--nosuch", "--", "true"]),
    ("--memory", 125, ["--memory", "much", "--", "true"]),
    ("no command", 125, []),
    ("/nosuch", 125, ["--fs", "/nosuch", "--", "true"]),
    ("--fs: no directory", 125, ["--fs", "", "--", "true"]),
    ("both added and dropped", 125, ["--cap-add", "KILL", "--cap-drop", "KILL", "--", "true"]),
    ("nosuch", 125, ["--profile", "/nosuch", "--fs", "TREE", "--", "true"]),
    ("the sandbox's root is empty", 127, [*PLAIN, "--", "/bin/true"]),
    ("command not found", 127, [*PLAIN, "--fs", "TREE", "--", "nosuch"]),
    ("cannot be executed", 126, [*PLAIN, "--fs", "TREE", "--", "/bin"]),
    ("timeout after", 124, [*PLAIN, "--fs", "TREE", "--timeout", "200ms", "--", "sleep", "100"]),
    ("more output than", 137, [*PLAIN, "--fs", "TREE", "--output-limit", "1K", "--", "yes"]),
    ("seccomp is no wall in this run", 0, [*PLAIN, "--fs", "TREE", "--learn", "LEARNT", "--", "true"]),
    pytest.param("root inside is root on this host", 0, [*PLAIN, "--fs", "TREE", "--userns", "host", "--", "true"], marks=ROOT),
    pytest.param("out of memory", 137, ["--fs", "TREE", "--memory", "32M", "--", "sh", "-c", HOG], marks=ROOT),
    pytest.param("counts there", 0, ["--fs", "TREE", "--memory", "32M", "--storage", "64M", "--", "true"], marks=ROOT),
    ("not enforced", 0, ["NO-CGROUPS", "--fs", "TREE", "--", "true"]),
    ("not enforced", 125, ["NO-CGROUPS", "--require-limits", "--fs", "TREE", "--", "true"]),
]


@pytest.mark.parametrize("said, code, words", NOTICES)
def test_a_notice_is_a_line_or_json(tree, tmp_path, said, code, words):
    prefix = without_cgroups() if "NO-CGROUPS" in words else []
    known = {"TREE": str(tree), "LEARNT": str(tmp_path / "learnt")}
    words = [known.get(word, word) for word in words if word != "NO-CGROUPS"]

    def stderr(*flags):
        done = subprocess.run([*prefix, BIN / "microbox", *flags, *words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, text=True, timeout=60, check=False)
        assert done.returncode == code, done
        return done.stderr

    text = stderr()
    assert said in text and text.splitlines()[0].startswith("microbox: "), text
    lines = [json.loads(line) for line in stderr("--log-format", "json").splitlines()]
    assert any(said in line["message"] for line in lines), lines
    for line in lines:
        assert line["level"] in ("error", "warn") and line["time"].endswith("Z"), line
        assert not line["message"].startswith("microbox"), line
    # How to mend it comes along.
    assert any("fix" in line for line in lines) == ("  fix: " in text)
    # The option in one word.
    assert len([json.loads(line) for line in stderr("--log-format=json").splitlines()]) == len(lines)


def test_what_the_command_says_is_left_as_it_is(tree):
    done = subprocess.run([BIN / "microbox", "--log-format", "json", *PLAIN, "--fs", tree, "--", "sh", "-c", "echo mine >&2"],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == "mine\n"


def test_json_of_a_command_is_not_ours():
    """Words after -- are the command's."""
    done = subprocess.run([BIN / "microbox", "--nosuch", "--", "x", "--log-format", "json"], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 125 and done.stderr.startswith("microbox: ")
