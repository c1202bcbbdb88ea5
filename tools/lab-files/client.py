# SPDX-License-Identifier: Apache-2.0
"""One run as its caller sees it: streams, terminal, signals and exit code carried as they are."""

import fcntl
import os
import select
import signal
import socket
import struct
import sys
import termios
import time
import tty

import wire

TIMED_OUT = 124
LAB_FAILED = 125
KILL_AFTER = 2  # seconds from SIGTERM to the end, when the time limit is over
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


def say(text):
    # In a terminal that is still raw, a line feed alone would not return.
    sys.stderr.write(f"tools/lab: {text}\r\n" if sys.stderr.isatty() else f"tools/lab: {text}\n")
    sys.stderr.flush()


def plain(body):
    """Text that others wrote, as one line that tells a terminal nothing: its controls, as in \\x1b, spelt out."""
    text = body.decode(errors="replace")
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def window_size(descriptor):
    """(rows, columns) of a terminal."""
    try:
        return struct.unpack("HHHH", fcntl.ioctl(descriptor, termios.TIOCGWINSZ, b"\0" * 8))[:2]
    except OSError:
        return 24, 80


def write_all(descriptor, data):
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view):]
        except BlockingIOError:  # The caller's, and its flags are not ours to change.
            select.select([], [descriptor], [])


class Run:
    def __init__(self, end, options):
        self.end = end
        self.options = options
        self.terminal = options["tty"]
        self.credit = 0
        self.input_open = options["stdin"]
        self.unsent = bytearray()
        self.reader = wire.Reader()
        self.result = None
        self.interrupts = 0
        self.timed_out = False
        self.gone = set()  # 1, 2: nobody reads that stream of ours any more

    def start(self, command):
        size = window_size(0) if self.terminal else (0, 0)
        self.end.sendall(wire.open_frames(self.terminal, size, self.options["cwd"], command,
                                          self.options["environment"]))

    def finish(self):
        """The exit code, once the run is over."""
        wake, waker = socket.socketpair()
        waker.setblocking(False)
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        for number in (*FORWARDED, signal.SIGWINCH):
            signal.signal(number, self.on_signal)
        saved = termios.tcgetattr(0) if self.terminal else None
        try:
            if self.terminal:
                tty.setraw(0, termios.TCSANOW)
            return self.relay(wake)
        finally:
            if saved is not None:
                termios.tcsetattr(0, termios.TCSADRAIN, saved)
            signal.set_wakeup_fd(-1)

    def relay(self, wake):
        self.end.setblocking(False)
        limit = self.options["timeout"]
        deadline = time.monotonic() + limit if limit else None
        while self.result is None:
            poll = select.poll()
            poll.register(wake, select.POLLIN)
            poll.register(self.end, select.POLLIN | (select.POLLOUT if self.unsent else 0))
            if self.input_open and self.credit > 0 and not self.unsent:
                poll.register(0, select.POLLIN)
            patience = None if deadline is None else max(0, int((deadline - time.monotonic()) * 1000) + 1)
            ready = dict(poll.poll(patience))
            if wake.fileno() in ready:
                wake.recv(256)
            if deadline is not None and time.monotonic() >= deadline:
                deadline = self.time_is_over()
            if 0 in ready:
                self.read_input()
            if self.end.fileno() in ready:
                self.receive()
            self.flush()
        return self.result

    def time_is_over(self):
        """First a SIGTERM, then the end. Returns the next deadline."""
        if not self.timed_out:
            self.timed_out = True
            self.send(wire.frame(wire.SIGNAL, extra=signal.SIGTERM))
            return time.monotonic() + KILL_AFTER
        self.result = TIMED_OUT  # Closing our connection kills what is left.
        return None

    def read_input(self):
        piece = os.read(0, min(self.credit, wire.LARGEST_BODY))
        self.credit -= len(piece)
        self.input_open = bool(piece)
        self.send(wire.frame(wire.INPUT, body=piece))

    def receive(self):
        piece = wire.receive(self.end)
        if piece is None:
            return
        if not piece and self.result is None:
            say("the lab ended under the run")
            self.result = LAB_FAILED
        for kind, extra, _, body in self.reader.feed(piece):
            self.handle(kind, extra, body)

    def handle(self, kind, extra, body):
        if kind == wire.OUTPUT:
            self.output(extra, body)
        elif kind == wire.CREDIT:
            if self.credit == 0 and not self.options["stdin"] and not self.input_open:
                self.options["stdin"] = True  # Told once that there is no input.
                self.send(wire.frame(wire.INPUT))
            self.credit += wire.read_number(body)
        elif kind == wire.EXIT:
            status = wire.read_number(body)
            code = os.waitstatus_to_exitcode(status)
            self.result = TIMED_OUT if self.timed_out else code if code >= 0 else 128 - code
        elif kind == wire.FAILED:
            error = wire.read_number(body)
            say(f"{plain(body[4:])}: {os.strerror(error)}")
            self.result = {2: 127, 20: 127, 13: 126, 8: 126}.get(error, LAB_FAILED)
        elif kind == wire.NOTICE:
            say(plain(body))
            self.result = LAB_FAILED

    def output(self, descriptor, body):
        if descriptor not in self.gone:
            try:
                write_all(descriptor, body)
            except OSError:
                # As for a local program: nobody reads, so it gets SIGPIPE, once.
                self.gone.add(descriptor)
                self.send(wire.frame(wire.SIGNAL, extra=signal.SIGPIPE))
        self.send(wire.frame(wire.CREDIT, body=wire.number(len(body))))

    def send(self, data):
        self.unsent += data
        self.flush()

    def flush(self):
        while self.unsent:
            try:
                del self.unsent[:self.end.send(self.unsent)]
            except BlockingIOError:
                return
            except OSError:
                self.unsent.clear()  # Reading tells why.

    def on_signal(self, number, _):
        if number == signal.SIGWINCH:
            if self.terminal:
                self.send(wire.frame(wire.RESIZE, body=struct.pack("<HH", *window_size(0))))
            return
        self.interrupts += number == signal.SIGINT
        if self.interrupts >= 3:
            self.result = 128 + signal.SIGINT
        else:
            self.send(wire.frame(wire.SIGNAL, extra=number))
