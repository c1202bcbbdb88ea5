# SPDX-License-Identifier: Apache-2.0
"""What the lab's keeper and client do by themselves: no machine is needed."""

import importlib
import os
import struct

import pytest

from conftest import ROOT

NUMBER = struct.Struct("<I").pack
FAILED, NOTICE = 35, 66


@pytest.fixture
def load(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tools/lab-files")
    return importlib.import_module


def test_a_console_of_any_length_is_the_last_of_it_and_a_panic_is_seen(load, tmp_path):
    module = load("console")
    console = module.Console(tmp_path)
    assert console.take() is None
    for number in range(200):
        os.write(console.theirs, f"piece {number}".encode().ljust(60000))
        console.take()
        assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 2 * module.HALF
    assert not console.tells_of_panic() and len(console.text()) > module.HALF
    os.write(console.theirs, b"Kernel panic - not syncing")
    os.close(console.theirs)
    assert console.tells_of_panic() and console.text().endswith(b"piece 199".ljust(60000) + b"Kernel panic - not syncing")
    assert console.take() == b""


def test_a_console_that_cannot_be_written_is_still_taken(load, tmp_path):
    console = load("console").Console(tmp_path)
    console.out = open("/dev/full", "wb", buffering=0)
    os.write(console.theirs, b"no room for this")
    assert console.take() == b"no room for this"


@pytest.mark.parametrize("kind, body, shown", [
    (NOTICE, b"ended: \x1b]0;title\x07\xc2\x9b31m\r\nroot# ", "ended: \\x1b]0;title\\x07\\x9b31m\\r\\nroot# "),
    (FAILED, NUMBER(2) + b"exec \x1b[2J\x7fr\xc3\xb4le \xff\xe2\x80\xae",
     "exec \\x1b[2J\\x7frôle \ufffd\\u202e: No such file or directory")])
def test_text_from_the_lab_tells_the_callers_terminal_nothing(load, capsys, kind, body, shown):
    load("client").Run(None, {"tty": False, "stdin": False}).handle(kind, 0, body)
    assert capsys.readouterr().err == f"tools/lab: {shown}\n"
