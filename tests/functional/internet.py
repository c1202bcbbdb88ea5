# SPDX-License-Identifier: Apache-2.0
"""Run inside a network namespace: whoever connects to port 80 is told where from; name servers answer every
question with one address. Says "up" when it listens."""

import selectors
import socket
import struct

IP_PKTINFO = 8


def answer(question):
    """To a question for an address (RFC 1035, 4.1): 203.0.113.80."""
    name_end = question.index(b"\0", 12) + 5
    return question[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + question[12:name_end] + b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\xcb\0\x71\x50"


def main():
    server = socket.create_server(("0.0.0.0", 80), backlog=128)
    names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    # The answer has to come from the address that was asked.
    names.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
    names.bind(("0.0.0.0", 53))
    ready = selectors.DefaultSelector()
    ready.register(server, selectors.EVENT_READ)
    ready.register(names, selectors.EVENT_READ)
    print("up", flush=True)
    while True:
        for key, _ in ready.select():
            if key.fileobj is server:
                connection, peer = server.accept()
                with connection:
                    connection.sendall(f"from {peer[0]}\n".encode())
            else:
                question, control, _, peer = names.recvmsg(512, 64)
                asked = control[0][2][8:12]  # in_pktinfo, ipi_addr
                said = struct.pack("=I4s4s", 0, asked, b"\0" * 4)
                names.sendmsg([answer(question)], [(socket.IPPROTO_IP, IP_PKTINFO, said)], 0, peer)


main()
