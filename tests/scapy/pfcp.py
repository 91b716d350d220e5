#!/usr/bin/env python3
"""Writes a capture of PFCP messages built by scapy, random but valid and the same for the same seed.

    pfcp.py FILE [MESSAGES [SEED]]

Every message type and IEs of every type, those that scapy does not know by pfcp_values.py, groups nested
to a depth of 3, with and without SEID and priority, and vendors' IEs."""

import random
import string
import struct
import sys

from scapy import fields
from scapy.contrib import pfcp

import pfcp_values
from frames import Pcap, ethernet, udp

# Session Set Modification is of Release 17 and not scapy's.
MESSAGES = sorted({*pfcp.PFCPmessageType, 16, 17})
LEAVES = [c for c in pfcp.ietypecls.values() if not issubclass(c, pfcp.IE_Compound)]
GROUPS = [c for c in pfcp.ietypecls.values() if issubclass(c, pfcp.IE_Compound)]


def text(rng, shortest=1, longest=24):
    return "".join(rng.choices(string.ascii_letters + string.digits, k=rng.randint(shortest, longest))).encode()


def name(rng):
    return b".".join(text(rng, 1, 12) for _ in range(rng.randint(1, 4)))


def digits(rng):
    count = rng.randint(5, 16)
    octets = [rng.randrange(10) | rng.randrange(10) << 4 for _ in range(count // 2)]
    if count % 2:
        octets.append(rng.randrange(10) | 0xF0)
    return bytes(octets)


def texts(rng, pairs=False):
    count = rng.randint(1, 3) * (2 if pairs else 1)
    return b"".join(struct.pack("!H", len(t)) + t for t in (text(rng) for _ in range(count)))


def address(rng, octets):
    raw = bytes(rng.randrange(256) for _ in range(octets))
    if octets == 4:
        return ".".join(map(str, raw))
    return ":".join(raw[at : at + 2].hex() for at in range(0, 16, 2))


def value(rng, field):
    """A random value of a field; None leaves scapy's own."""
    if isinstance(field, fields.ConditionalField):
        field = field.fld
    if field.name in ("ietype", "length") or field.name.startswith("spare") or field.name == "extra_data":
        return None
    if isinstance(field, (fields.FieldLenField, fields.BitFieldLenField, fields.MultipleTypeField)):
        return None
    if field.name in ("imsi", "imei", "msisdn"):
        return digits(rng)
    if field.name in ("additional_flow", "additional_url", "additional_dn_dnp"):
        return texts(rng, field.name == "additional_dn_dnp")
    if isinstance(field, pfcp.APNStrLenField):
        return name(rng)
    if isinstance(field, fields.FieldListField):
        many = rng.randint(1, 4)
        return [value(rng, field.field) for _ in range(many)]
    if isinstance(field, (fields.BitEnumField, fields.ByteEnumField, fields.ShortEnumField)):
        return rng.choice([code for code in field.i2s if isinstance(code, int)])
    if isinstance(field, fields.BitField):
        return rng.getrandbits(field.size)
    if isinstance(field, pfcp.IP6Field):
        return address(rng, 16)
    if isinstance(field, fields.IPField):
        return address(rng, 4)
    if isinstance(field, fields.MACField):
        return ":".join(f"{rng.randrange(256):02x}" for _ in range(6))
    if isinstance(field, pfcp.Int40Field):
        return rng.getrandbits(40)
    if isinstance(field, fields.SignedLongField):
        return rng.getrandbits(63) - (1 << 62)
    if isinstance(field, fields.SignedIntField):
        return rng.getrandbits(31) - (1 << 30)
    if isinstance(field, fields.ThreeBytesField):
        return rng.getrandbits(24)
    if isinstance(field, fields.StrLenField):
        return text(rng)
    if isinstance(field, fields.StrField):
        return None
    return rng.getrandbits(8 * field.sz)


def remote_gtp_u_peer(rng):
    """Clause 8.2.70 has a length of two octets before the destination interface, scapy one of one."""
    flags = rng.randrange(16)
    data = bytes([flags])
    for bit, octets in ((2, 4), (1, 16)):
        if flags & bit:
            data += bytes(rng.randrange(256) for _ in range(octets))
    if flags & 4:
        data += struct.pack("!HB", 1, rng.randrange(6))
    if flags & 8:
        labels = b"".join(bytes([len(label)]) + label for label in name(rng).split(b"."))
        data += struct.pack("!H", len(labels)) + labels
    return pfcp.IE_NotImplemented(ietype=103, data=data)


def leaf(rng):
    kind = rng.choice([*LEAVES, *pfcp_values.VALUES])
    if isinstance(kind, int):
        return pfcp.IE_NotImplemented(ietype=kind, data=pfcp_values.made(rng, pfcp_values.VALUES[kind]))
    given = {f.name: value(rng, f) for f in kind.fields_desc}
    if kind is pfcp.IE_RemoteGTP_U_Peer:
        return remote_gtp_u_peer(rng)
    if kind is pfcp.IE_TraceInformation:
        given["ip_address"] = bytes(rng.randrange(256) for _ in range(rng.choice([4, 16])))
        given.update({key: rng.randrange(10) for key in given if "_digit_" in key})
    return kind(**{key: one for key, one in given.items() if one is not None})


def group(rng, depth):
    kind = rng.choice([*GROUPS, *pfcp_values.GROUPS])
    if isinstance(kind, int):
        return pfcp.IE_NotImplemented(ietype=kind, data=b"".join(bytes(ie) for ie in ies(rng, depth + 1)))
    return kind(IE_list=ies(rng, depth + 1))


def ies(rng, depth):
    made = []
    for _ in range(rng.randint(1, 6)):
        choice = rng.random()
        if choice < 0.25 and depth < 3:
            made.append(group(rng, depth))
        elif choice < 0.28:
            made.append(pfcp.IE_EnterpriseSpecific(ietype=0x8000 | rng.getrandbits(10), enterprise_id=rng.choice([9, 42]), data=text(rng)))
        else:
            made.append(leaf(rng))
    return made


def message(rng, kind):
    of_session = kind >= 50
    priority = {"MP": 1, "priority": rng.randrange(16)} if of_session and rng.random() < 0.3 else {}
    seid = {"seid": rng.getrandbits(64)} if of_session else {}
    header = pfcp.PFCP(S=int(of_session), message_type=kind, seq=rng.getrandbits(24), **seid, **priority)
    body = b"".join(bytes(ie) for ie in ies(rng, 1))
    return bytes(header)[:2] + struct.pack("!H", len(bytes(header)) - 4 + len(body)) + bytes(header)[4:] + body


def main(path, messages=10_000, seed=29244):
    rng = random.Random(seed)
    pcap = Pcap(path)
    for at in range(messages):
        payload = message(rng, MESSAGES[at % len(MESSAGES)])
        while len(payload) > 60_000:
            payload = message(rng, MESSAGES[at % len(MESSAGES)])
        pcap.write(ethernet(udp(payload, 8805, 8805)))
    pcap.close()


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
