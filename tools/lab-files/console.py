# SPDX-License-Identifier: Apache-2.0
"""What the lab's console said last. Anybody in the lab may write to it, as much as they like."""

import os
import shutil
import time

import parts

# Of each of two files: the older one goes when the newer one is full.
HALF = 2 << 20
KEPT_CONSOLES = 10


class Console:
    """A pipe, of which QEMU has the one end `theirs`, and the last 2 to 4 MiB that came through it, in
    `folder`, where they can be read while the lab runs. A pipe and no socket: QEMU writes byte by byte, of
    which a socket holds a few hundred, and what does not fit the panicking kernel does not wait for."""

    def __init__(self, folder):
        self.file = folder / "console"
        self.older = folder / "console.older"
        self.pipe, self.theirs = os.pipe()
        os.set_blocking(self.pipe, False)
        self.out = open(self.file, "wb", buffering=0)

    def take(self):
        """Takes a piece of what was said. None: nothing was; b"": nothing will be."""
        try:
            piece = os.read(self.pipe, 1 << 16)
        except BlockingIOError:
            return None
        try:
            if self.out.tell() + len(piece) > HALF:
                os.rename(self.file, self.older)
                self.out.close()
                self.out = open(self.file, "wb", buffering=0)
            self.out.write(piece)
        except OSError:
            pass  # A full file system costs the lab its console, not its life.
        return piece

    def text(self):
        """All that is left of it. Once QEMU has ended, with its last words."""
        while self.take():
            pass
        return b"".join(file.read_bytes() for file in (self.older, self.file) if file.exists())

    def tells_of_panic(self):
        text = self.text()
        return b"Kernel panic" in text or b"Oops" in text

    def keep(self, log):
        """Copies it, and `log` after it, beside the other logs of the clone and says where, to be appended
        to a sentence."""
        try:
            logs = parts.ROOT / "build/logs"
            logs.mkdir(parents=True, exist_ok=True)
            kept = logs / f"lab-console-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
            with open(kept, "wb") as out:
                out.write(self.text())
                if log.exists():
                    with open(log, "rb") as text:
                        shutil.copyfileobj(text, out)
            for old in sorted(logs.glob("lab-console-*"))[:-KEPT_CONSOLES]:
                old.unlink(missing_ok=True)
            return f"; its console: {kept}"
        except OSError as error:
            return f"; its console could not be kept: {error}"
