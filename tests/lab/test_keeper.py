# SPDX-License-Identifier: Apache-2.0
"""The lab's keeper and client against what a server in the lab might send: no machine is needed."""

import importlib
import os
import selectors
import socket
import struct
import types

import pytest

from conftest import ROOT

NUMBER = struct.Struct("<I").pack
HELLO, OUTPUT, EXIT, FAILED, MOUNTED, CREDIT, OPEN, STATUS, NOTICE = 32, 33, 34, 35, 36, 16, 1, 65, 66
SHARE = {"folder": "/tmp", "at": "/tmp", "writable": False}


def frame(kind, body=b"", channel=0, extra=0):
    return struct.pack("<BBHI", kind, extra, len(body), channel) + body


@pytest.fixture
def load(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tools/lab-files")
    return importlib.import_module


class Lab:
    """A keeper without a machine. `server`: the lab's end of the port; `client`: of a connection whose run is 1."""

    def __init__(self, load, folder, shares):
        made = load("keeper").Keeper({"shares": shares, "lifetime": 60}, folder, None, None)
        self.ended = []
        made.processes = [types.SimpleNamespace(kill=lambda: self.ended.append(True))]
        ours, self.server = socket.socketpair()
        made.attach(ours)
        made.status = lambda: b"{}"
        theirs, self.client = socket.socketpair()
        made.listener = types.SimpleNamespace(accept=lambda: (theirs, None))
        made.accept(None)
        self.connection, = made.connected
        self.keeper = made

    def hears(self, *frames):
        for one in frames:
            self.server.sendall(one)
            self.keeper.port.ready(selectors.EVENT_READ)

    def is_up_with_a_run(self):
        self.hears(frame(HELLO, NUMBER(5)))
        self.client.sendall(frame(OPEN))
        self.connection.ready(selectors.EVENT_READ)


@pytest.fixture
def lab(load, tmp_path):
    return lambda *shares: Lab(load, tmp_path, list(shares))


@pytest.mark.parametrize("sent", [
    frame(MOUNTED, NUMBER(0)), frame(HELLO), frame(HELLO, b"123"), frame(HELLO, NUMBER(1)) * 2,
    frame(HELLO, NUMBER(1)) + frame(MOUNTED, NUMBER(0)), frame(0), frame(255, b"what"), frame(OUTPUT, b"text", 1, 1),
    frame(EXIT, NUMBER(0), 7)])
def test_what_makes_no_sense_before_a_run_ends_the_lab_with_a_line(lab, sent):
    one = lab()
    one.hears(sent)
    assert one.keeper.problem.startswith("the lab's server sent a frame of type ") and one.ended


@pytest.mark.parametrize("sent", [frame(MOUNTED), frame(MOUNTED, NUMBER(0xffffffff)), frame(HELLO, NUMBER(2)),
                                  frame(MOUNTED, NUMBER(0)) * 2])
def test_what_makes_no_sense_while_it_mounts_does_too(lab, sent):
    one = lab(SHARE)
    one.hears(frame(HELLO, NUMBER(1)), sent)
    assert one.keeper.problem.startswith("the lab's server sent a frame of type ") and one.ended


@pytest.mark.parametrize("sent", [
    frame(OUTPUT, b"into a file of the client's", 1, 5), frame(OUTPUT, b"x" * 65535, 1, 1), frame(EXIT, b"", 1),
    frame(EXIT, NUMBER(0x137f), 1), frame(EXIT, NUMBER(0xffffffff), 1), frame(FAILED, b"one", 1),
    frame(FAILED, NUMBER(0xffffffff) + b"what", 1), frame(CREDIT, NUMBER(1 << 31), 1), frame(CREDIT, b"", 1),
    frame(STATUS, b"{}", 1), frame(NOTICE, b"your password, please", 1), frame(EXIT, NUMBER(0), 2)])
def test_what_makes_no_sense_of_a_run_ends_the_lab_and_does_not_reach_the_client(lab, sent):
    one = lab()
    one.is_up_with_a_run()
    one.hears(sent)
    assert one.keeper.problem.startswith("the lab's server sent a frame of type ") and one.ended
    with pytest.raises(BlockingIOError):
        one.client.recv(1, socket.MSG_DONTWAIT)


def test_what_a_server_sends_comes_through(lab):
    one = lab(SHARE)
    one.hears(frame(HELLO, NUMBER(1)), frame(MOUNTED, NUMBER(0)))
    one.client.sendall(frame(OPEN))
    one.connection.ready(selectors.EVENT_READ)
    sent = [frame(CREDIT, NUMBER(1 << 18), 1), frame(OUTPUT, b"x" * 32768, 1, 2), frame(EXIT, NUMBER(0x8b), 1)]
    one.hears(*sent)
    assert one.client.recv(1 << 17) == b"".join(sent) and not one.keeper.problem and not one.keeper.clients


def test_output_beyond_all_credit_does_not_fill_the_keeper(lab):
    one = lab()
    one.is_up_with_a_run()
    for _ in range(2000):
        if not one.keeper.problem:
            one.hears(frame(OUTPUT, b"x" * 32768, 1, 1))
    assert one.keeper.problem == "the lab's server sent more than it had credit for" and one.ended


@pytest.mark.parametrize("last", [frame(EXIT, NUMBER(0), 1), frame(OUTPUT, b"text", 1, 1)])
def test_a_client_that_went_as_its_run_spoke_is_one_less(lab, last):
    one = lab()
    one.is_up_with_a_run()
    one.client.close()
    one.hears(last)
    assert not one.connection.is_open and not one.keeper.clients and not one.keeper.connected and not one.keeper.problem


def test_a_client_that_went_is_gone_once_when_it_is_seen_from_both_sides(lab):
    one = lab()
    one.is_up_with_a_run()
    while not one.connection.unsent:
        one.hears(frame(OUTPUT, b"x" * 32768, 1, 1))
    one.client.close()
    one.connection.ready(selectors.EVENT_READ | selectors.EVENT_WRITE)
    assert not one.connection.is_open and not one.keeper.problem


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
