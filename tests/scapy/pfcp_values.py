"""Values of the IEs that scapy does not know, 161 to 321, and of those to which later releases added more
than it knows, by the clauses of TS 29.244 Release 17.

A value is a list of parts, each made by one of the functions below; `flags` remembers what it drew, so
that the parts behind it are there or not. Left out is what tshark cannot read without losing the rest of
the message: 229, 306, the mask of 192, 230 without ports. These have a test of their own."""

import struct

GROUPS = [
    165, 166, 167, 168, 169, 175, 176, 183, 187, 188, 189, 190, 195, 199, 200, 201, 203, 205, 211, 212, 213, 214,
    216, 218, 220, 221, 225, 226, 227, 233, 238, 239, 240, 242, 247, 252, 254, 255, 256, 261, 263, 264, 267, 270,
    271, 272, 276, 277, 279, 290, 295, 300, 301, 302, 303, 304, 310, 311, 315, 316,
]  # fmt: skip


def octets(count):
    return lambda rng, drawn: bytes(rng.randrange(256) for _ in range(count))


def flags(mask):
    """An octet in which only the bits of `mask` mean anything."""

    def draw(rng, drawn):
        drawn.append(rng.randrange(256) & mask)
        return bytes(drawn[-1:])

    return draw


def one_of(*values):
    return lambda rng, drawn: bytes([rng.choice(values)])


def when(bits, *parts):
    """Where all these bits of the last octet of flags are set."""
    return lambda rng, drawn: made(rng, parts, drawn) if drawn[-1] & bits == bits else b""


def unless(bits, *parts):
    return lambda rng, drawn: b"" if drawn[-1] & bits else made(rng, parts, drawn)


def sized(width, part):
    """Behind its length, of `width` octets."""

    def draw(rng, drawn):
        inner = part(rng, drawn)
        return len(inner).to_bytes(width, "big") + inner

    return draw


def text(rng, drawn):
    return "".join(rng.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=rng.randint(1, 30))).encode()


def name(rng, drawn):
    labels = [text(rng, drawn)[:12] for _ in range(rng.randint(1, 4))]
    return b"".join(bytes([len(label)]) + label for label in labels)


def many(part, most=6):
    return lambda rng, drawn: b"".join(part(rng, drawn) for _ in range(rng.randint(1, most)))


def counted(part, most=6):
    """As many as the octet before them says."""

    def draw(rng, drawn):
        count = rng.randint(0, most)
        return bytes([count]) + b"".join(part(rng, drawn) for _ in range(count))

    return draw


def address(rng, drawn):
    """An address behind its type, 2 bits, and length, 6 bits (TS 23.003 clause 5.1)."""
    v6 = rng.random() < 0.5
    return bytes([0x40 | 16 if v6 else 4]) + octets(16 if v6 else 4)(rng, drawn)


def either(*parts):
    return lambda rng, drawn: rng.choice(parts)(rng, drawn)


def made_of(bits, *parts):
    """Behind an octet of these flags."""
    return lambda rng, drawn: bytes([bits]) + made(rng, parts, [bits])


def made(rng, parts, drawn=None):
    drawn = [0] if drawn is None else drawn
    return b"".join(part(rng, drawn) for part in parts)


V4, V6 = octets(4), octets(16)

RATE = [octets(1), octets(2)]
VALUES = {
    37: [flags(255), flags(255), flags(3)],
    38: [one_of(4), sized(2, text), sized(2, text)],
    43: [*[flags(255)] * 6, flags(63)],
    44: [flags(255), flags(31)],
    63: [flags(255), flags(255), flags(63)],
    65: [one_of(0x02), octets(8), one_of(*range(6))],
    66: [flags(63), *[when(1 << bit, octets(8)) for bit in range(6)]],
    89: [flags(255), flags(3)],
    93: [flags(0x4F), when(2, V4), when(1, V6), when(8, octets(1)), when(0x40, octets(1))],
    94: [flags(7), when(1, *RATE), when(2, *RATE), when(5, *RATE), when(6, *RATE)],
    95: [one_of(*range(7)), flags(1)],
    141: [flags(0x78), *[when(bit, sized(1, text)) for bit in (8, 16, 32, 64)]],
    144: [counted(octets(6)), sized(1, octets(3)), sized(1, octets(3))],
    145: [counted(octets(6)), sized(1, octets(3)), sized(1, octets(3))],
    161: [flags(1)],
    162: [flags(1)],
    163: [octets(4)],
    164: [octets(4)],
    170: [octets(2)],
    171: [one_of(0, 1)],
    172: [one_of(0, 1, 2, 3)],
    173: [octets(1)],
    174: [one_of(0, 1, 2, 3, 4)],
    177: [sized(2, text)],
    178: [flags(7), when(2, V4), when(1, V6)],
    179: [flags(15)],
    180: [one_of(0), name],
    181: [octets(4)],
    182: [octets(2)],
    184: [flags(3)],
    185: [flags(3), when(2, V4), when(1, V6)],
    186: [flags(3)],
    191: [
        flags(15),
        unless(8, when(2, V4), when(1, V6), when(6, V4), when(5, V6)),
    ],
    192: [flags(3), when(2, V4), when(1, V6)],
    193: [
        flags(7),
        when(1, octets(2)),
        when(5, octets(2)),
        when(2, octets(2)),
        when(6, octets(2)),
        octets(8),
    ],
    194: [flags(1)],
    196: [octets(4)],
    197: [octets(4)],
    198: [flags(1), when(1, octets(8))],
    202: [octets(9)],
    204: [flags(3)],
    206: [octets(1)],
    207: [octets(8)],
    208: [octets(4)],
    209: [octets(8)],
    210: [octets(4)],
    215: [octets(1)],
    217: [flags(1)],
    219: [one_of(0, 1, 4, 5)],
    222: [flags(1)],
    223: [flags(1)],
    224: [flags(7), when(4, counted(one_of(*range(64))))],
    228: [flags(3), octets(1), octets(2), when(1, V4), when(2, V6)],
    230: [either(*[made_of(bits, when(1, V4), when(2, V6), octets(4), when(4, octets(12))) for bits in (1, 2, 3, 5, 6, 7)])],
    231: [flags(1)],
    232: [text],
    234: [octets(4)],
    235: [octets(4)],
    236: [octets(4)],
    237: [flags(7)],
    241: [flags(3)],
    243: [flags(15)],
    244: [flags(7)],
    245: [flags(7), when(1, octets(4)), when(2, octets(4)), when(4, octets(4))],
    246: [octets(4)],
    248: [flags(15), when(1, octets(4)), when(2, octets(4)), when(4, octets(4))],
    249: [flags(1)],
    250: [octets(2)],
    251: [flags(7)],
    253: [octets(16)],
    257: [octets(4)],
    258: [flags(3)],
    259: [flags(1)],
    260: [flags(3)],
    262: [flags(1)],
    265: [flags(1)],
    266: [octets(11)],
    268: [flags(3), when(1, octets(4)), when(2, octets(4))],
    269: [octets(2)],
    274: [lambda rng, drawn: struct.pack("!H", rng.randrange(1, 321)), octets(5)],
    275: [one_of(*range(1, 12))],
    278: [
        octets(2),
        flags(15),
        when(1, sized(1, text)),
        when(2, sized(1, octets(9))),
        when(4, sized(1, octets(7))),
        when(8, octets(1)),
    ],
    280: [either(V4, V6)],
    281: [octets(3)],
    282: [text],
    283: [text],
    284: [flags(7)],
    285: [V4],
    286: [V4],
    287: [octets(2)],
    288: [flags(3), when(1, octets(2)), when(2, octets(1))],
    289: [flags(3)],
    291: [text],
    292: [flags(3), when(2, V4), when(1, V6)],
    293: [
        flags(63),
        when(1, V4),
        when(2, V6),
        when(4, octets(2)),
        when(8, V4),
        when(16, V6),
        when(32, octets(2)),
    ],
    294: [sized(2, text)],
    296: [text],
    297: [octets(4)],
    298: [flags(1)],
    299: [text],
    305: [flags(7), when(1, octets(6)), when(2, address, address), when(4, octets(6))],
    307: [flags(7)],
    308: [flags(7), unless(4, octets(2), when(1, V4), when(2, V6))],
    309: [octets(2)],
    312: [flags(7)],
    313: [text],
    314: [octets(2)],
    317: [one_of(*range(8)), many(one_of(*range(64)))],
    318: [flags(1)],
    319: [flags(1)],
    320: [octets(2), octets(1)],
    321: [flags(1)],
}
