#!/usr/bin/env python3
"""Sends PFCP and eCPRI messages, so many of each, as frames on an interface.

    live.py INTERFACE COUNT"""

import random
import socket
import sys

import ecpri
import pfcp
from frames import ethernet, udp


def main(interface, count):
    rng = random.Random(5)
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    link.bind((interface, 0))
    for at in range(count):
        link.send(ethernet(udp(pfcp.message(rng, pfcp.MESSAGES[at % len(pfcp.MESSAGES)]), 8805, 8805)))
        body = ecpri.payload(rng, at % 12)
        pdu = bytes(ecpri.Ecpri(message_type=at % 12, payload_size=len(body))) + body
        link.send(ethernet(pdu, 0xAEFE, [(0x8100, 5)] if at % 2 else []))
    # Another version of PFCP, another protocol, and a message that breaks its own length.
    for wrong in (b"\x40\x01\x00\x04\x00\x00\x00\x00", b"\x00hello", b"\x20\x01\x00\x63\x00\x00\x00\x00"):
        link.send(ethernet(udp(wrong, 8805, 8805)))
    link.send(ethernet(b"\x10\x00\x00\x60" + bytes(50), 0xAEFE))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
