# SPDX-License-Identifier: Apache-2.0
"""A stream of frames in the keeper's loop: the port into the lab, and each client's connection."""

import selectors

import wire


class Link:
    """Owns `end`, a connected socket, until either side hangs up. `take(link, kind, extra, channel, body)` is
    called for each frame that comes, `over(link)` once, when it is closed."""

    def __init__(self, selector, end, take, over):
        self.selector = selector
        self.end = end
        self.take = take
        self.over = over
        self.reader = wire.Reader()
        self.unsent = bytearray()
        self.is_open = True
        self.channel = None  # Of the client's run.
        end.setblocking(False)
        selector.register(end, selectors.EVENT_READ, self.ready)

    def ready(self, events):
        if events & selectors.EVENT_WRITE:
            self.flush()
        if not events & selectors.EVENT_READ or not self.is_open:
            return
        piece = wire.receive(self.end)
        if piece is None:
            return
        if not piece:
            self.close()
            return
        for frame in self.reader.feed(piece):
            if self.is_open:
                self.take(self, *frame)

    def send(self, data):
        if self.is_open:
            self.unsent += data
            self.flush()

    def flush(self):
        try:
            del self.unsent[:self.end.send(self.unsent)]
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        # Waits for room only while there is something to send.
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self.unsent else 0)
        if self.selector.get_key(self.end).events != wanted:
            self.selector.modify(self.end, wanted, self.ready)

    def close(self):
        if self.is_open:
            self.is_open = False
            self.selector.unregister(self.end)
            self.end.close()
            self.over(self)
