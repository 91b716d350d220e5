#!/usr/bin/env python3
"""Makes the captures beside it: frames with every header that the headers task reads.

scapy 2.6.1 (pip install scapy==2.6.1). The captures are committed, so that the tests need no scapy.
"""
import random
from pathlib import Path

from scapy.all import (AH, ICMP, IP, SCTP, TCP, UDP, CookedLinux, CookedLinuxV2, Dot1AD, Dot1Q, Ether, GRE,
                       ICMPv6EchoReply, ICMPv6EchoRequest, ICMPv6ND_NS, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment,
                       IPv6ExtHdrHopByHop, IPv6ExtHdrRouting, PadN, Raw, RouterAlert, SCTPChunkData, SCTPChunkInit,
                       SCTPChunkHeartbeatReq, SCTPChunkParamHeartbeatInfo, RawPcapWriter, fragment)
from scapy.contrib.geneve import GENEVE, GeneveOptions
from scapy.contrib.gtp import GTP_U_Header, GTPPDUSessionContainer, GTPEchoRequest
from scapy.contrib.mpls import MPLS
from scapy.layers.vxlan import VXLAN

random.seed(1)
HERE = Path(__file__).parent


def ether(n=0):
    return Ether(src=f"02:00:00:00:00:{n + 1:02x}", dst=f"02:00:00:00:00:{n + 2:02x}")


def four(n=0, **more):
    return IP(src=f"10.0.{n}.1", dst=f"10.0.{n}.2", **more)


def six(n=0, **more):
    return IPv6(src=f"fd00:{n}::1", dst=f"fd00:{n}::2", **more)


def tcp(**more):
    return TCP(sport=random.randrange(20000, 60000), dport=7777, seq=random.getrandbits(32), ack=random.getrandbits(32), **more)


def udp(**more):
    return UDP(sport=random.randrange(20000, 60000), dport=7777, **more)


vxlan = lambda n, vni: four(n) / UDP(sport=55555, dport=4789) / VXLAN(vni=vni, flags="Instance")
geneve = lambda n, vni, **more: four(n) / UDP(sport=55556, dport=6081) / GENEVE(vni=vni, **more)
gtpu = lambda n, teid, **more: four(n) / UDP(sport=2152, dport=2152) / GTP_U_Header(teid=teid, gtp_type=255, **more)
data = Raw(b"\x01\x02\x03payload")

frames = [
    ether() / four() / tcp(flags="S", options=[("MSS", 1460), ("SAckOK", b""), ("Timestamp", (4294967295, 0)), ("NOP", None), ("WScale", 7)]),
    ether() / four(tos=0xb9, id=0xabcd, flags="DF", ttl=3) / tcp(flags="PA", window=29200, urgptr=9) / data,
    ether() / four(flags="evil") / tcp(flags="FRUEC", reserved=5) / data,
    ether() / four() / tcp(flags="A", options=[("NOP", None), ("NOP", None), ("SAck", (1000, 2000, 3000, 4000))]),
    ether() / four() / tcp(flags="A", options=[(254, b"\xf9\x89abcd"), ("EOL", None)]) / data,
    ether() / four(options=[b"\x07\x07\x04\x00\x00\x00\x00\x00"]) / udp() / data,
    ether() / four() / UDP(sport=1, dport=65535) / Raw(b""),
    ether() / four() / udp() / data / Raw(b"x" * 1200),
    ether() / six(tc=0xb9, fl=0xabcde, hlim=1) / tcp(flags="S") / data,
    ether() / six() / udp() / data,
    # ICMP
    ether() / four() / ICMP(type=8, id=77, seq=9) / data,
    ether() / four() / ICMP(type=0, id=77, seq=9) / data,
    ether() / four() / ICMP(type=17, id=1, seq=2, addr_mask="255.255.0.0"),
    ether() / six() / ICMPv6EchoRequest(id=5, seq=6) / data,
    ether() / six() / ICMPv6EchoReply(id=5, seq=6) / data,
    ether() / six(hlim=255) / ICMPv6ND_NS(tgt="fd00::2"),
    # SCTP
    ether() / four() / SCTP(sport=38412, dport=38412, tag=0) / SCTPChunkInit(init_tag=0xdeadbeef, a_rwnd=65535, n_out_streams=10, n_in_streams=10, init_tsn=1),
    ether() / four() / SCTP(sport=9, dport=10, tag=0xcafef00d) / SCTPChunkData(reserved=0, beginning=1, ending=1, tsn=1, stream_id=2, stream_seq=3, proto_id=0, data=b"abcde") / SCTPChunkData(beginning=1, ending=1, tsn=2, stream_id=2, stream_seq=4, proto_id=0, data=b"xyz"),
    ether() / six() / SCTP(sport=9, dport=10, tag=1) / SCTPChunkHeartbeatReq(params=[SCTPChunkParamHeartbeatInfo(data=b"12345678")]),
    # VLAN, QinQ
    ether() / Dot1Q(vlan=4094, prio=7, dei=1) / four() / tcp(flags="A") / data,
    ether() / Dot1AD(vlan=100, prio=3) / Dot1Q(vlan=200, prio=1) / six() / udp() / data,
    ether() / Dot1Q(vlan=1) / Dot1Q(vlan=2) / Dot1Q(vlan=3) / four() / udp() / data,
    # MPLS
    ether() / MPLS(label=16, cos=5, s=1, ttl=63) / four() / udp() / data,
    ether() / MPLS(label=1048575, s=0, ttl=255) / MPLS(label=3, s=1, ttl=1) / six() / tcp(flags="R"),
    ether() / MPLS(label=99, s=1, ttl=2) / Raw(b"\0\0\0\0") / ether(7) / four(1) / udp() / data,
    # IP in IP, GRE
    ether() / four() / four(1) / udp() / data,
    ether() / four() / six(1) / tcp(flags="S") / data,
    ether() / six() / four(1) / udp() / data,
    ether() / six() / six(1) / udp() / data,
    ether() / four() / GRE(proto=0x0800) / four(1) / udp() / data,
    ether() / four() / GRE(proto=0x86dd, key_present=1, key=0xdeadbeef, seqnum_present=1, seqence_number=7, chksum_present=1) / six(1) / udp() / data,
    ether() / six() / GRE(proto=0x6558, key_present=1, key=0x12345678) / ether(9) / Dot1Q(vlan=9) / four(1) / tcp(flags="A") / data,
    ether() / four() / GRE(proto=0x8847) / MPLS(label=7, s=1) / four(1) / udp() / data,
    # VXLAN, Geneve, GTP-U
    ether() / vxlan(0, 0xabcdef) / ether(3) / four(1) / tcp(flags="S") / data,
    ether() / vxlan(0, 1) / ether(3) / Dot1Q(vlan=33) / six(1) / udp() / data,
    ether() / geneve(0, 0x123456, proto=0x6558) / ether(3) / four(1) / udp() / data,
    ether() / geneve(0, 5, proto=0x0800, critical=1, options=[GeneveOptions(classid=0x0102, type=0x80, data=b"\1\2\3\4\5\6\7\x08")]) / four(1) / tcp(flags="A") / data,
    ether() / gtpu(0, 0xdeadbeef) / four(1) / tcp(flags="A") / data,
    ether() / gtpu(0, 1, S=1, seq=0x1234) / six(1) / udp() / data,
    ether() / gtpu(0, 2, E=1, next_ex=0x85) / GTPPDUSessionContainer(type=0, QFI=9) / four(1) / udp() / data,
    ether() / four() / UDP(sport=2152, dport=2152) / GTP_U_Header(teid=0, gtp_type=1, S=1, seq=7) / GTPEchoRequest(),
    # four tunnels deep
    ether() / vxlan(0, 1) / ether(1) / vxlan(1, 2) / ether(2) / geneve(2, 3, proto=0x6558) / ether(3) / four(3) / GRE() / four(4) / tcp(flags="A") / data,
    # extension headers
    ether() / six() / IPv6ExtHdrHopByHop(options=[RouterAlert()]) / udp() / data,
    ether() / six() / IPv6ExtHdrHopByHop() / IPv6ExtHdrRouting(addresses=["fd00::9"]) / IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 10)]) / tcp(flags="S"),
    ether() / six() / AH(spi=0x1001, seq=5, icv=b"\xaa" * 12, nh=17, payloadlen=4) / udp() / data,
    ether() / four() / AH(spi=0x2002, seq=6, icv=b"\xbb" * 12, nh=6, payloadlen=4) / tcp(flags="A") / data,
    # what carries no IP
    Ether(src="02:00:00:00:00:01", dst="ff:ff:ff:ff:ff:ff", type=0x0806) / Raw(bytes.fromhex("0001080006040001020000000001") + bytes(18)),
    ether() / Dot1Q(vlan=7, type=0xaefe) / Raw(bytes.fromhex("10000004") + b"\0\1\0\2"),
    ether() / four(proto=89) / data,
    # padded to the least Ethernet frame
    Raw(bytes(ether() / four() / tcp(flags="A")) + bytes(6)),
]
frames += [ether() / part for part in fragment(four(5, id=0x4242) / udp() / Raw(b"f" * 100), fragsize=48)]
first = bytes(udp() / Raw(b"g" * 40))
frames += [
    ether() / six(5) / IPv6ExtHdrFragment(nh=17, id=0xfeedface, m=1, offset=0) / Raw(first[:24]),
    ether() / six(5) / IPv6ExtHdrFragment(nh=17, id=0xfeedface, m=0, offset=3) / Raw(first[24:]),
]



def write(name, linktype, frames):
    with RawPcapWriter(str(HERE / name), linktype=linktype) as writer:
        writer.write_header(None)
        for at, frame in enumerate(frames):
            writer.write_packet(bytes(frame), sec=1700000000 + at, usec=at)
    # scapy takes link type 0 (BSD loopback) for none at all
    content = (HERE / name).read_bytes()
    (HERE / name).write_bytes(content[:20] + linktype.to_bytes(4, "little") + content[24:])


null = lambda family, packet: Raw(family.to_bytes(4, "little") + bytes(packet))
write("headers.pcap", 1, frames)
write("sll.pcap", 113, [
    CookedLinux(pkttype=4, lladdrtype=1, lladdrlen=6, src=b"\2\0\0\0\0\1\0\0", proto=0x0800) / four() / tcp(flags="S"),
    CookedLinux(pkttype=0, lladdrtype=772, lladdrlen=6, src=bytes(8), proto=0x86dd) / six() / udp() / data])
write("sll2.pcap", 276, [
    CookedLinuxV2(proto=0x0800, ifindex=77, lladdrtype=1, pkttype=4, lladdrlen=6, src=b"\2\0\0\0\0\1\0\0") / four() / tcp(flags="S")])
write("raw.pcap", 101, [four() / tcp(flags="S"), six() / udp() / data])
write("null.pcap", 0, [null(2, four() / tcp(flags="S")), null(30, six() / udp() / data)])
