# SPDX-License-Identifier: Apache-2.0
"""The keeper: one process a lab, which owns its QEMU, gives each client's run a channel of the one
port into the lab, and takes everything down in the end."""

import json
import os
import pathlib
import select
import selectors
import signal
import socket
import subprocess
import time

import console
import link
import machine
import parts
import places
import wire

BOOT_SECONDS = 120
POWER_OFF_SECONDS = 10
FIRST_CLIENT_SECONDS = 5
# A machine of the translator that runs guests loses the interrupt of its timer now and then as it goes to sleep, and
# then sleeps until it hears of something else. It does so as often as this.
WAKE_SECONDS = 1
# To a client that does not read. A server that keeps to its credit stays below it, in frames of a byte each too.
MOST_UNSENT = 32 * wire.WINDOW


class Keeper:
    """Lives from Start to the end of its lab. `lease`: a descriptor whose hang-up ends the lab, or None."""

    def __init__(self, options, folder, lock, lease):
        self.options = options
        self.folder = folder
        self.lock = lock
        self.lease = lease
        self.selector = selectors.DefaultSelector()
        self.console = console.Console(folder)
        self.connected = set()
        self.clients = {}  # channel -> the connection whose run has it
        self.next_channel = 1
        self.listener = None
        self.awaited = False  # The one that started us is yet to come.
        self.port = None
        self.hello_ms = None
        self.began = time.monotonic()
        self.up_ms = None
        self.woken = self.began
        self.mounting = list(enumerate(options["shares"]))
        self.stopping_since = None
        self.orderly = False
        self.waiting_for_boot = []
        self.held = []  # frames of clients that came before the lab was up
        self.processes = []
        self.problem = None

    def start(self):
        self.log = open(self.folder / "log", "ab", buffering=0)
        shares = [machine.Share("host", self.options["root"], False, self.log, self.folder)]
        shares += [machine.Share(f"share{i}", share["folder"], share["writable"], self.log, self.folder)
                   for i, share in enumerate(self.options["shares"])]
        ours, theirs = socket.socketpair()
        disk = parts.disk(self.options["disk"] << 20)
        command = machine.qemu(self.options, theirs.fileno(), shares, disk, self.console.theirs,
                               self.options["kernel_file"], pathlib.Path(self.options["server"]),
                               self.options["rate"])
        passed = [theirs.fileno(), disk, self.console.theirs, *(share.socket.fileno() for share in shares)]
        qemu = machine.spawn(command, passed, self.log)
        self.processes = [qemu, *(share.process for share in shares)]
        for end in (theirs, *(share.socket for share in shares)):
            end.close()
        os.close(disk)
        os.close(self.console.theirs)
        self.listener = places.listen(self.folder)
        self.listener.setblocking(False)
        self.selector.register(self.listener, selectors.EVENT_READ, self.accept)
        self.selector.register(self.console.pipe, selectors.EVENT_READ, self.console_ready)
        self.attach(ours)
        self.selector.register(os.pidfd_open(qemu.pid), selectors.EVENT_READ, self.machine_ended)
        for share in shares:
            self.selector.register(os.pidfd_open(share.process.pid), selectors.EVENT_READ,
                                   lambda _, share=share: self.share_ended(share))
        if self.lease is not None:
            self.selector.register(self.lease, selectors.EVENT_READ, lambda _: self.stop(orderly=False))
        wake, waker = socket.socketpair()
        waker.setblocking(False)
        signal.set_wakeup_fd(waker.fileno())
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: self.stop(orderly=True))
        self.selector.register(wake, selectors.EVENT_READ, lambda _: wake.recv(64))
        self.waker = waker

    def run(self, started):
        """Until the lab is over. Calls `started` when clients can connect."""
        try:
            self.start()
            self.awaited = True
            started()
            while self.processes and self.processes[0].poll() is None:
                for key, events in self.selector.select(min(self.patience(), WAKE_SECONDS)):
                    key.data(events)
                self.check_deadlines()
                self.wake()
            self.machine_ended(None)  # The loop may end before it hears of this by descriptor.
        except (OSError, parts.LabError) as error:
            self.problem = str(error)
        finally:
            self.take_down()

    def deadline(self):
        if self.stopping_since is not None:
            return self.stopping_since + POWER_OFF_SECONDS
        if self.up_ms is None:
            return self.began + BOOT_SECONDS
        return self.began + self.options["lifetime"]

    def patience(self):
        return max(0.0, self.deadline() - time.monotonic())

    def check_deadlines(self):
        if time.monotonic() < self.deadline():
            return
        if self.stopping_since is not None:
            self.processes[0].kill()
        elif self.up_ms is None:
            self.problem = f"the lab did not come up in {BOOT_SECONDS} s"
            self.stop(orderly=False)
        else:
            self.problem = f"the lab's lifetime of {self.options['lifetime']} s is over"
            self.stop(orderly=True)

    def wake(self):
        if self.up_ms is not None and not self.port.unsent and time.monotonic() - self.woken >= WAKE_SECONDS:
            self.woken = time.monotonic()
            self.port.send(wire.frame(wire.WAKE))

    def stop(self, orderly):
        """Orderly: what was written to shared folders is synced first."""
        if self.stopping_since is None:
            self.stopping_since = time.monotonic()
            self.orderly = orderly and self.up_ms is not None
            if self.orderly:
                self.port.send(wire.frame(wire.POWER_OFF))
        if not self.orderly:
            self.processes[0].kill()

    # The lab's side.

    def attach(self, end):
        """The port; QEMU's hanging up is no news: its end is."""
        self.port = link.Link(self.selector, end, self.from_lab, lambda _: None)

    def from_lab(self, _, kind, extra, channel, body):
        try:
            wire.check(kind, extra, body)
            if kind in (wire.HELLO, wire.MOUNTED):
                self.lab_prepares(kind, body)
            else:
                self.run_says(kind, extra, channel, body)
        except wire.Nonsense as error:
            self.problem = self.problem or f"the lab's server sent {error}"
            self.port.close()
            self.stop(orderly=False)

    def lab_prepares(self, kind, body):
        if (self.hello_ms is None) != (kind == wire.HELLO) or self.up_ms is not None:
            raise wire.Nonsense(f"a frame of type {kind} unasked")
        if kind == wire.HELLO:
            self.hello_ms = wire.read_number(body)
        elif failed := wire.read_number(body):
            self.problem = f"mount {self.mounting[0][1]['at']} in the lab: {os.strerror(failed)}"
            self.stop(orderly=False)
            return
        else:
            self.mounting.pop(0)
        self.mount_next()

    def run_says(self, kind, extra, channel, body):
        if not 0 < channel < self.next_channel:
            raise wire.Nonsense(f"a frame of type {kind} for a run that there never was")
        client = self.clients.get(channel)
        if client is None:
            return  # It is gone, and the lab is yet to hear of it.
        if kind in (wire.EXIT, wire.FAILED):
            self.clients.pop(channel).channel = None
        client.send(wire.frame(kind, channel, body, extra))
        if len(client.unsent) > MOST_UNSENT:
            raise wire.Nonsense("more than it had credit for")

    def mount_next(self):
        if self.mounting:
            number, share = self.mounting[0]
            self.port.send(wire.frame(wire.MOUNT, body=f"share{number}\0{share['at']}\0".encode(),
                                      extra=int(share["writable"])))
            return
        self.up_ms = int((time.monotonic() - self.began) * 1000)
        waiting, held = self.waiting_for_boot, self.held
        self.waiting_for_boot, self.held = [], []
        self.port.send(b"".join(held))
        for client in waiting:
            client.send(wire.frame(wire.STATUS, body=self.status()))

    def console_ready(self, _):
        if self.console.take() == b"":
            self.selector.unregister(self.console.pipe)

    def machine_ended(self, _):
        """The loop ends by itself; here is only said why. Harmless when it was said."""
        self.processes[0].wait()
        if self.stopping_since is None and self.problem is None:
            self.problem = ("the lab's kernel panicked" if self.console.tells_of_panic() else
                            f"the lab's machine ended{self.last_words()}")

    def share_ended(self, share):
        """Either because QEMU, which ends just now, has hung up, or the lab would wait for its files for ever."""
        try:
            self.processes[0].wait(timeout=1)
            return self.machine_ended(None)
        except subprocess.TimeoutExpired:
            pass
        if self.stopping_since is None and self.problem is None:
            self.problem = f"virtiofsd, which serves {share.folder}, ended{self.last_words()}"
            self.stop(orderly=False)

    def last_words(self):
        """What QEMU or virtiofsd said on stderr, to be appended to a sentence."""
        lines = (self.folder / "log").read_text(errors="replace").strip().splitlines()
        told = [line for line in lines if not line.startswith(("virtio_session_mount:", "virtio_loop:"))]
        return f": {told[-1]}" if told else ""

    # The clients' side.

    def accept(self, _):
        try:
            end, _ = self.listener.accept()
        except BlockingIOError:
            return
        self.awaited = False
        self.connected.add(link.Link(self.selector, end, self.from_client, self.drop))

    def from_client(self, client, kind, extra, _, body):
        if kind == wire.STATUS:
            if self.up_ms is None:
                self.waiting_for_boot.append(client)
            else:
                client.send(wire.frame(wire.STATUS, body=self.status()))
        elif kind == wire.STOP:
            self.stop(orderly=True)
        elif kind == wire.OPEN:
            if client.channel is None:
                client.channel = self.next_channel
                self.next_channel += 1
                self.clients[client.channel] = client
            self.to_run(wire.frame(kind, client.channel, body, extra))
        elif client.channel is not None:
            self.to_run(wire.frame(kind, client.channel, body, extra))

    def to_run(self, data):
        if self.up_ms is None:
            self.held.append(data)
        else:
            self.port.send(data)

    def status(self):
        return json.dumps({"name": self.options["name"], "kernel": self.options["kernel"],
                           "cpus": self.options["cpus"], "memory_mib": self.options["memory"],
                           "init": self.options["init"], "room": self.options["room"], "runs": len(self.clients),
                           "up_after_ms": self.up_ms, "age_s": int(time.monotonic() - self.began),
                           "console": str(self.console.file)}).encode()

    def drop(self, client):
        """A client is gone: so is its run."""
        self.connected.discard(client)
        if client in self.waiting_for_boot:
            self.waiting_for_boot.remove(client)
        if client.channel is not None:
            del self.clients[client.channel]
            self.to_run(wire.frame(wire.HANG_UP, client.channel))

    # The end.

    def take_down(self):
        for process in self.processes:
            process.kill()
            process.wait()
        if self.problem:
            notice = f"{self.problem}{self.console.keep(self.folder / 'log')}"
            # One that came just now is to know as well, and so is the one that started us and is yet to come.
            if self.awaited:
                select.select([self.listener], [], [], FIRST_CLIENT_SECONDS)
            if self.listener is not None:
                self.accept(None)
            for client in list(self.connected):
                client.send(wire.frame(wire.NOTICE, body=notice.encode()[:wire.LARGEST_BODY]))
        places.release(self.folder)
        os.close(self.lock)
