"""Capture files from bytes: what the generators here have in common."""

import struct


def ethernet(payload, ethertype=0x0800, tags=()):
    """A frame; `tags` are (tpid, tci), outermost first."""
    stack = b"".join(struct.pack("!HH", tpid, tci) for tpid, tci in tags)
    return bytes.fromhex("020000000002" "020000000001") + stack + struct.pack("!H", ethertype) + payload


def udp(payload, sport, dport, src="10.0.0.1", dst="10.0.0.2"):
    """An IPv4 packet with a UDP datagram, checksum 0."""
    address = lambda text: bytes(int(part) for part in text.split("."))
    header = struct.pack("!BBHHHBBH", 0x45, 0, 28 + len(payload), 0, 0x4000, 64, 17, 0)
    total = sum(struct.unpack("!10H", header + address(src) + address(dst)))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    header = header[:10] + struct.pack("!H", ~total & 0xffff)
    return header + address(src) + address(dst) + struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload


class Pcap:
    """A pcap file with nanoseconds, a microsecond between frames."""

    def __init__(self, path, snaplen=262144):
        self.file, self.count, self.snaplen = open(path, "wb"), 0, snaplen
        self.file.write(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, snaplen, 1))

    def write(self, frame):
        kept = frame[: self.snaplen]
        time = 1_700_000_000_000_000_000 + self.count * 1000
        self.file.write(struct.pack("<IIII", time // 10**9, time % 10**9, len(kept), len(frame)) + kept)
        self.count += 1

    def close(self):
        self.file.close()
