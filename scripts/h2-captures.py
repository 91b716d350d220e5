#!/usr/bin/env python3
"""Writes two captures of HTTP/2 without a network: the header blocks of the hpack stories as requests,
and traffic like that of a 5G service bus (multipart bodies, eleven headers). Called by h2-captures."""

import gzip
import json
import struct
import sys

BOUNDARY = b"gc0pJq08jU534c"
SBI_REQUEST = [
    (b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"smf.5gc.mnc001.mcc001.3gppnetwork.org:8080"),
    (b":path", b"/nsmf-pdusession/v1/sm-contexts"), (b"content-type", b"multipart/related; boundary=" + BOUNDARY),
    (b"accept", b"application/json,application/problem+json"), (b"user-agent", b"AMF"),
    (b"3gpp-sbi-discovery-target-nf-type", b"SMF"), (b"3gpp-sbi-discovery-requester-nf-type", b"AMF"),
    (b"3gpp-sbi-message-priority", b"24"), (b"content-length", b"472"),
]
SBI_RESPONSE = [
    (b":status", b"201"), (b"location", b"http://smf:8080/nsmf-pdusession/v1/sm-contexts/1"),
    (b"content-type", b"application/json"), (b"server", b"SMF"), (b"date", b"Sun, 22 Nov 2026 16:00:00 GMT"),
]


def integer(value, bits, first):
    mask = (1 << bits) - 1
    if value < mask:
        return bytes([first | value])
    out = bytearray([first | mask])
    value -= mask
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


class Encoder:
    """An encoder that inserts each new field and refers to it from then on, as clients do."""

    def __init__(self):
        self.table = []

    def block(self, fields, unindexed=()):
        out = b""
        for field in fields:
            if field in self.table:
                out += integer(62 + self.table.index(field), 7, 0x80)
            else:
                insert = field[0] not in unindexed
                out += (b"\x40" if insert else b"\x00") + b"".join(integer(len(t), 7, 0) + t for t in field)
                if insert:
                    self.table.insert(0, field)
        return out


def frame(kind, flags, stream, payload):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


class Capture:
    def __init__(self, path):
        self.out = open(path, "wb", 1 << 20)
        self.out.write(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, 101))
        self.time = 1_800_000_000_000_000_000

    def packet(self, connection, sent, payload, flags=0x18):
        ports = (20000 + connection, 8080) if sent else (8080, 20000 + connection)
        self.seq.setdefault(ports, 1000)
        seq, ack = self.seq[ports], self.seq.get(ports[::-1], 1000)
        tcp = struct.pack(">HHIIBBHHH", *ports, seq, ack, 0x50, flags, 65535, 0, 0)
        ends = (b"\x0a\0\0\1", b"\x0a\0\0\2")
        ip = struct.pack(">BBHHHBBH", 0x45, 0, 40 + len(payload), 0, 0, 64, 6, 0) + ends[not sent] + ends[sent]
        packet = ip + tcp + payload
        # Some 4000 requests a second: over a minute, so that what is forgotten after a while is forgotten.
        self.time += 100_000
        self.out.write(struct.pack("<IIII", self.time // 10**9, self.time % 10**9, len(packet), len(packet)) + packet)
        self.seq[ports] = seq + len(payload) + (1 if flags & 3 else 0)

    seq = {}

    def connect(self, connection):
        self.seq = {}
        self.packet(connection, True, b"", 0x02)
        self.packet(connection, False, b"", 0x12)
        self.packet(connection, True, b"", 0x10)
        self.send(connection, True, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, struct.pack(">HI", 1, 65536)))
        self.send(connection, False, frame(4, 0, 0, struct.pack(">HI", 1, 65536)) + frame(4, 1, 0, b""))

    def send(self, connection, sent, payload):
        for at in range(0, len(payload), 1400):
            self.packet(connection, sent, payload[at:at + 1400])


def stories(path, data, requests):
    capture, connection, made = Capture(path), 0, 0
    sets = [[json.loads(line) for line in gzip.open(f"{data}/{name}.jsonl.gz")] for name in ("nghttp2", "go-hpack")]
    while made < requests:
        for story in (story for part in sets for story in part):
            # The stories of responses are left to the requests' side too: what counts is the headers.
            if story["cases"][0]["headers"][0][0] == ":status":
                continue
            connection = connection % 40000 + 1
            capture.connect(connection)
            answers = Encoder()
            for number, case in enumerate(story["cases"]):
                stream = 2 * number + 1
                capture.send(connection, True, frame(1, 5, stream, bytes.fromhex(case["wire"])))
                capture.send(connection, False, frame(1, 5, stream, answers.block([(b":status", b"200"), (b"server", b"s")])))
                made += 1
            capture.packet(connection, True, b"", 0x11)
            capture.packet(connection, False, b"", 0x11)
    return made


def service_bus(path, requests):
    capture = Capture(path)
    body = b"--" + BOUNDARY + b"\r\nContent-Type: application/json\r\n\r\n" + b'{"supi":"imsi-001010000000001"}'.ljust(300)
    body += b"\r\n--" + BOUNDARY + b"\r\nContent-Type: application/vnd.3gpp.5gnas\r\nContent-Id: n1\r\n\r\n"
    body += bytes(40) + b"\r\n--" + BOUNDARY + b"--\r\n"
    made, per = 0, 10000
    for connection in range(1, requests // per + 1):
        capture.connect(connection)
        ask, answer = Encoder(), Encoder()
        for number in range(per):
            stream = 2 * number + 1
            capture.send(connection, True, frame(1, 4, stream, ask.block(SBI_REQUEST)) + frame(0, 1, stream, body))
            answers = frame(1, 4, stream, answer.block(SBI_RESPONSE, (b"location",)))
            capture.send(connection, False, answers + frame(0, 1, stream, b'{"upCnxState":"ACTIVATED"}'))
            made += 1
        capture.packet(connection, True, b"", 0x11)
        capture.packet(connection, False, b"", 0x11)
    return made


directory, material, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
count = max(count // 5, 10000)
print("stories.pcap", stories(f"{directory}/stories.pcap", material, count), "requests")
print("sbi.pcap", service_bus(f"{directory}/sbi.pcap", count), "requests")
