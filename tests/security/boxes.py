# SPDX-License-Identifier: Apache-2.0
"""A process sandbox to attack: as root with a range of ids of its own, or as an ordinary user."""

import json
import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("MSB_BIN", ROOT / "build/dev/bin"))
PROBE = pathlib.Path(__file__).with_name("box_probe.py")
NOBODY = 65534


class Box:
    def __init__(self, program, identity, tree):
        self.identity = identity
        self.program = program
        self.tree = tree
        self.prefix = []
        if os.geteuid() == 0 and identity == "user":
            self.prefix = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]

    def command(self, *words, fs=None):
        return [*self.prefix, str(self.program), "--fs", str(fs or self.tree), *map(str, words)]

    def run(self, *words, expect=0, fs=None, prefix=(), **how):
        how.setdefault("stdin", subprocess.DEVNULL)
        done = subprocess.run([*prefix, *self.command(*words, fs=fs)], capture_output=True, text=True, timeout=60, **how)
        if expect is not None:
            assert done.returncode == expect, (words, done.returncode, done.stdout[-500:], done.stderr)
        return done

    def probe(self, *attempts, flags=(), **how):
        done = self.run("--mount-ro", f"{self.program.with_name(PROBE.name)}:/probe.py", *flags, "--", "python3", "-B",
                        "/probe.py", *attempts, **how)
        answers = json.loads(done.stdout)
        return answers[attempts[0]] if len(attempts) == 1 else answers
