#!/usr/bin/env python3
"""Writes a capture of eCPRI messages, random and the same for the same seed.

    ecpri.py FILE [MESSAGES [SEED]]

scapy has no layer for eCPRI, so the header is declared here with scapy's fields. Every message type in
turn, over Ethernet without tag, with one and with two, and over UDP port 5555; some PDUs of several
messages concatenated. tshark does not look into types 8 to 11."""

import random
import struct
import sys

from scapy import fields
from scapy.packet import Packet

from frames import Pcap, ethernet, udp


class Ecpri(Packet):
    name = "eCPRI"
    fields_desc = [
        fields.BitField("revision", 1, 4),
        fields.BitField("reserved", 0, 3),
        fields.BitField("C", 0, 1),
        fields.ByteField("message_type", 0),
        fields.ShortField("payload_size", 0),
    ]


def data(rng, most=64):
    return bytes(rng.randrange(256) for _ in range(rng.randint(1, most)))


def payload(rng, kind):
    bits = rng.getrandbits
    if kind in (0, 1, 2):
        return struct.pack("!HH", bits(16), bits(16)) + data(rng)
    if kind == 3:
        return struct.pack("!II", bits(32), bits(32)) + data(rng)
    if kind == 4:
        read_write, request_response = rng.randrange(3), rng.randrange(3)
        carried = data(rng) if (read_write, request_response) in ((0, 1), (1, 0), (2, 0)) else b""
        length = len(carried) if carried else bits(8)
        head = struct.pack("!BBH", bits(8), read_write << 4 | request_response, bits(16))
        return head + bits(48).to_bytes(6, "big") + struct.pack("!H", length) + carried
    if kind == 5:
        action = rng.randrange(6)
        stamp = bits(48).to_bytes(6, "big") + rng.randrange(10**9).to_bytes(4, "big")
        # Only some actions carry a time; the others have zeros.
        if action in (1, 3, 4):
            stamp = bytes(10)
        compensation = 0 if action in (1, 3, 4) else bits(40)
        return bytes([bits(8), action]) + stamp + struct.pack("!Q", compensation) + data(rng)
    if kind == 6:
        return struct.pack("!HB", bits(16), rng.choice([1, 2])) + data(rng)
    if kind == 7:
        event = rng.randrange(6)
        count = rng.randint(1, 4) if event in (0, 2) else 0
        number = {0: lambda: rng.choice([0, 1, 0x800 + bits(8)]), 2: lambda: rng.randint(0x400, 0x404)}
        elements = b"".join(
            struct.pack("!HHI", bits(16), rng.randrange(2) << 12 | number[event](), bits(32)) for _ in range(count)
        )
        return bytes([bits(8), event, bits(8), count]) + elements
    if kind == 8:
        return struct.pack("!HBBIB", bits(16), bits(8), bits(6), bits(32), bits(8) & 0xDF) + data(rng)
    if kind in (9, 10):
        return struct.pack("!H", bits(16)) + data(rng)
    return struct.pack("!HBBII", bits(16), bits(8), rng.randrange(2), bits(32), bits(32))


def main(path, messages=2400, seed=2019):
    rng = random.Random(seed)
    pcap = Pcap(path)
    done = 0
    while done < messages:
        count = rng.choice([1, 1, 1, 2, 3])
        # tshark loses count behind a type that it does not know.
        if any((done + at) % 12 > 7 for at in range(count)):
            count = 1
        pdu = b""
        for at in range(count):
            body = payload(rng, done % 12)
            last = at == count - 1
            pdu += bytes(Ecpri(C=int(not last), message_type=done % 12, payload_size=len(body))) + body
            if not last:
                pdu += bytes(-len(pdu) % 4)
            done += 1
        way = rng.randrange(4)
        if way == 3:
            pcap.write(ethernet(udp(pdu, 5555, 5555)))
        else:
            tags = [(0x88A8, rng.getrandbits(12)), (0x8100, rng.getrandbits(12))][2 - way :]
            pcap.write(ethernet(pdu + bytes(max(0, 46 - len(pdu))), 0xAEFE, tags))
    pcap.close()


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
