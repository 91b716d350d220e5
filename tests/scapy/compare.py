#!/usr/bin/env python3
"""Compares records with tshark's own decoding of the same capture, field by field.

    compare.py {pfcp,ecpri} CAPTURE RECORDS [--learn]

RECORDS has one JSON record per line, in the order of the capture. FIELDS (tests/data/PROTOCOL/tshark.tsv)
says for each field of tshark to which key of ours it is equal, and how; `differs` rows name what the two
see differently, who is right and by which clause. Anything else that differs, and any field that has no
row, fails. `--learn` prints rows for fields that have none, from what agrees in this capture."""

import collections
import datetime
import difflib
import ipaddress
import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data")


class Node:
    """One IE as tshark sees it, or the header."""

    def __init__(self, code, name):
        self.code, self.name, self.leaves, self.children = code, name, collections.defaultdict(list), []


def leaf(node, field):
    name = field.get("name")
    if name and not name.startswith("_ws."):
        node.leaves[name].append((field.get("show"), field.get("value") or "", field.get("showname") or ""))
    elif name == "_ws.expert.message":
        node.leaves["expert"].append((field.get("show"), "", ""))


def ie_type(field):
    for child in field:
        if child.get("name") in ("pfcp.ie_type", "pfcp.enterprise_ie"):
            return child
    return None


def walk(node, field):
    """Puts what is in `field` into `node`, nested IEs as children."""
    for child in field:
        if child.get("name") in (None, "") and ie_type(child) is not None:
            found = ie_type(child)
            name = re.match(r"IE Type: (.*) \(\d+\)$", found.get("showname") or "")
            inner = Node(int(found.get("show")), name and name.group(1))
            walk(inner, child)
            node.children.append(inner)
        else:
            leaf(node, child)
            walk(node, child)


def dissected(capture, protocol):
    """Messages as tshark sees them, frame by frame."""
    # O-RAN's dissector takes over what it can make sense of.
    more = ["--disable-protocol", "oran_fh_cus", "-d", "udp.port==5555,ecpri"] if protocol == "ecpri" else []
    command = ["tshark", "-r", capture, "-T", "pdml", "-J", protocol, *more]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        for _, element in ElementTree.iterparse(process.stdout):
            if element.tag != "packet":
                continue
            for proto in element.iter("proto"):
                if proto.get("name") == protocol:
                    yield from messages(proto)
            element.clear()


def messages(proto):
    """The messages of one proto: eCPRI's have several where they are concatenated."""
    parts = [[]]
    for field in proto:
        if field.get("name") == "ecpri.header" and parts[-1]:
            parts.append([])
        parts[-1].append(field)
    for part in parts:
        header = Node(None, None)
        walk(header, part)
        yield header


KINDS = {}


def kind(function):
    KINDS[function.__name__] = function
    return function


@kind
def flag(shows, ours):
    return ours in (True, None) and (shows[0][0] in ("1", "True")) == (ours is True)


@kind
def number(shows, ours):
    """A number, or an identifier in hexadecimal; absent where a flag says that it means nothing."""
    if isinstance(ours, str):
        ours = int(ours, 16)
    return isinstance(ours, int) and int(shows[0][0], 0) == ours


@kind
def signed(shows, ours):
    raw = bytes.fromhex(shows[0][1])
    return isinstance(ours, int) and int.from_bytes(raw, "big", signed=True) == ours


@kind
def marked(shows, ours):
    """As number, where its flag is set: else it means nothing and we leave it out."""
    return ours is None or number(shows, ours)


@kind
def markedflag(shows, ours):
    return ours is None or flag(shows, ours)


@kind
def numbers(shows, ours):
    return isinstance(ours, list) and [int(show[0], 0) for show in shows] == ours


@kind
def low31(shows, ours):
    return ours is not None and int(shows[0][0], 0) == ours & 0x7FFFFFFF


@kind
def top(shows, ours):
    return ours is not None and (shows[0][0] == "1") == bool(ours >> 31)


@kind
def octet(shows, ours):
    return isinstance(ours, int) and int(shows[0][1], 16) == ours


@kind
def set(shows, ours):
    """A flag that tells the presence of a field."""
    return (shows[0][0] == "1") == (ours is not None)


@kind
def high(shows, ours):
    """The first octet of what we tell as one."""
    return isinstance(ours, str) and int(shows[0][0], 0) == int(ours[:2], 16)


@kind
def low(shows, ours):
    return isinstance(ours, str) and int(shows[0][0], 0) == int(ours[2:4], 16)


@kind
def mcc(shows, ours):
    return isinstance(ours, str) and int(shows[0][0]) == int(ours[:3])


@kind
def mnc(shows, ours):
    return isinstance(ours, str) and ours.split("-")[-1].endswith(shows[0][0])


@kind
def raw(shows, ours):
    """The octets, whatever tshark makes of them."""
    return isinstance(ours, str) and shows[0][1].lower() == ours.replace(":", "").replace("-", "").lower()


@kind
def begins(shows, ours):
    """The first of the octets."""
    return isinstance(ours, str) and ours.startswith(shows[0][1].lower())


@kind
def ends(shows, ours):
    """The last of the octets."""
    return isinstance(ours, str) and ours.endswith(shows[0][1].lower())


@kind
def raws(shows, ours):
    return isinstance(ours, list) and [show[1].lower() for show in shows] == [one.replace(":", "") for one in ours]


@kind
def texts(shows, ours):
    """One or several texts, in order."""
    return ours is not None and [show[0] for show in shows] == (ours if isinstance(ours, list) else [ours])


@kind
def utf8(shows, ours):
    return isinstance(ours, str) and bytes.fromhex(shows[0][1]).decode("latin1") == ours


@kind
def digits(shows, ours):
    return isinstance(ours, str) and ours.isdigit() and shows[0][0].rstrip("f") == ours


@kind
def address(shows, ours):
    return isinstance(ours, str) and shows[0][0].count(".") + shows[0][0].count(":") > 1 and \
        ipaddress.ip_address(shows[0][0]) == ipaddress.ip_address(ours)


MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


@kind
def time(shows, ours):
    found = re.match(r"(\w{3}) +(\d+), (\d+) (\d\d:\d\d:\d\d)\.0+ UTC", shows[0][0])
    if not found or not isinstance(ours, str):
        return False
    month, day, year, clock = found.groups()
    return f"{year}-{MONTHS.index(month) + 1:02}-{int(day):02}T{clock}Z" == ours


@kind
def time64(shows, ours):
    """NTP's 64 bits, which tshark takes for a number."""
    seconds, fraction = divmod(int(shows[0][1], 16), 1 << 32)
    seconds += 0 if seconds >> 31 else 1 << 32
    moment = datetime.datetime(1900, 1, 1) + datetime.timedelta(seconds=seconds)
    return f"{moment.isoformat()}.{fraction * 10**9 >> 32:09}Z" == ours


@kind
def datasize(shows, ours):
    """How many octets they are."""
    return isinstance(ours, int) and len(shows[0][1]) == 2 * ours


@kind
def length(shows, ours):
    """A length that is used and not told."""
    return True


@kind
def spare(shows, ours):
    return True


@kind
def differs(shows, ours):
    """Told otherwise on purpose: the row says why."""
    return True


def of_keys(ours, keys):
    """The value under a key, or of several joined by `+` all their texts."""
    if "+" not in keys:
        return ours.get(keys)
    found = []
    for key in keys.split("+"):
        one = ours.get(key, [])
        found.extend(one if isinstance(one, list) else [one])
    return found


def of_name(field):
    """Fields that every IE has in its own way."""
    if "spare" in field:
        return ("spare", "")
    if re.search(r"_len$|_length$|length_of|length_|number_of_mac_address|_flags$|\.flags$", field):
        return ("length", "")
    return None


class Comparison:
    def __init__(self, protocol):
        self.rows = {}
        self.names = {}
        self.failures = collections.Counter()
        self.samples = {}
        self.unknown = collections.defaultdict(list)
        self.compared = collections.Counter()
        for line in open(os.path.join(DATA, protocol, "tshark.tsv"), encoding="utf-8"):
            cells = line.rstrip("\n").split("\t")
            if line.startswith("#") or len(cells) < 3:
                continue
            if cells[0] == "name":
                self.names[int(cells[1])] = cells[2]
            else:
                self.rows[(cells[0], cells[1])] = (cells[2], cells[3] if len(cells) > 3 else "")

    def fail(self, what, detail):
        self.failures[what] += 1
        self.samples.setdefault(what, detail)

    def leaves(self, code, leaves, ours):
        for field, shows in leaves.items():
            self.compared[(code, field)] += 1
            row = self.rows.get((str(code), field)) or self.rows.get(("*", field)) or of_name(field)
            if row is None:
                self.unknown[(code, field)].append((shows, ours))
                continue
            kind_name, key = row
            if not KINDS[kind_name](shows, of_keys(ours, key)):
                self.fail(f"{code} {field}", (shows, key, of_keys(ours, key), ours))

    def learn(self):
        """Prints a row for each field without one: the key and kind that agree in every sample."""
        for (code, field), samples in sorted(self.unknown.items(), key=str):
            fits = []
            for key in {key for _, ours in samples for key in ours}:
                for kind_name in LEARNT:
                    try:
                        told = any(ours.get(key) is not None for _, ours in samples)
                        if told and all(KINDS[kind_name](shows, ours.get(key)) for shows, ours in samples):
                            likeness = difflib.SequenceMatcher(None, field.lower(), key.lower()).ratio()
                            fits.append((likeness - LEARNT.index(kind_name) / 1000, kind_name, key))
                    except (ValueError, TypeError, AttributeError):
                        pass
            if not fits and all(show[0] == "0" for shows, _ in samples for show in shows):
                fits.append((1, "flag", field.rsplit(".", 1)[-1]))
            fits.sort(reverse=True)
            likeness, kind_name, key = fits[0] if fits else (0, "?", f"{samples[0]}"[:300])
            print(f"{code}\t{field}\t{kind_name}\t{key}\t#{len(samples)} {likeness:.2f} {[fit[1:] for fit in fits[1:3]]}")


LEARNT = ["number", "octet", "flag", "address", "time", "digits", "texts", "raw", "numbers", "raws", "utf8", "signed"]


def pfcp_tree(comparison, theirs, ours, at):
    codes = [(node.code) for node in theirs]
    if codes != [ie["type"] for ie in ours]:
        return comparison.fail("IEs", (at, codes, [ie["type"] for ie in ours]))
    for node, ie in zip(theirs, ours):
        if node.name and comparison.names.get(node.code, node.name) != ie.get("name"):
            comparison.fail("name", (node.code, node.name, ie.get("name")))
        value = dict(ie.get("value", {}), **({"hex": ie["hex"]} if "hex" in ie else {}))
        value["type"] = ie["type"]
        if "enterpriseID" in ie:
            value["enterpriseID"] = ie["enterpriseID"]
        comparison.leaves(node.code if node.code < 0x8000 else "vendor", node.leaves, value)
        pfcp_tree(comparison, node.children, ie.get("ies", []), at)


def pfcp(comparison, capture, records):
    for at, (header, record) in enumerate(paired(dissected(capture, "pfcp"), records)):
        comparison.leaves("header", header.leaves, dict(record["header"]))
        pfcp_tree(comparison, header.children, record["ies"], at)


def flat(value, into, prefix=""):
    for key, one in value.items():
        if isinstance(one, dict):
            flat(one, into, key + ".")
        elif isinstance(one, list):
            for item in one:
                for inner, scalar in item.items():
                    into.setdefault(f"{key}.{inner}", []).append(scalar)
        else:
            into[prefix + key] = one
    return into


def ecpri(comparison, capture, records):
    for header, record in paired(dissected(capture, "ecpri"), records):
        comparison.leaves(record["header"]["messageType"], header.leaves, flat(record, {}))


def paired(theirs, ours):
    """Both to their end."""
    count = 0
    for message in theirs:
        record = next(ours, None)
        assert record is not None, f"tshark has more than {count} messages"
        count += 1
        yield message, record
    assert next(ours, None) is None, f"tshark has no more than {count} messages"


def main(protocol, capture, path, *options):
    comparison = Comparison(protocol)
    records = (json.loads(line) for line in open(path, encoding="utf-8"))
    {"pfcp": pfcp, "ecpri": ecpri}[protocol](comparison, capture, records)
    if "--learn" in options:
        return comparison.learn()
    for (code, field), samples in comparison.unknown.items():
        comparison.fail(f"no row: {code} {field}", samples[0])
    for what, count in comparison.failures.most_common():
        print(f"{count} times {what}: {comparison.samples[what]}"[:600])
    print(f"{sum(comparison.compared.values())} fields of {len(comparison.compared)} kinds compared")
    sys.exit(bool(comparison.failures))


if __name__ == "__main__":
    main(*sys.argv[1:])
