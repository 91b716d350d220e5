#!/usr/bin/env python3
"""Checks the crates of `cargo metadata` (its JSON on standard input) against ci/deny.toml: licences, bans, duplicates,
sources. Prints one line per crate that may not be there; the exit code is 1 when there is any."""

import json
import pathlib
import re
import sys
import tomllib


def main() -> int:
    rules = tomllib.loads(pathlib.Path(__file__).with_name("deny.toml").read_text())
    metadata = json.load(sys.stdin)
    linked = {node["id"] for node in metadata["resolve"]["nodes"]}
    crates = [package for package in metadata["packages"] if package["id"] in linked]
    shipped = [package for package in crates if package["id"] in needed_to_run(metadata["resolve"])]
    findings = [*licences(rules, crates), *banned(rules, crates), *duplicates(rules, shipped), *sources(rules, crates)]
    for finding in findings:
        print(finding)
    print(f"{len(crates)} crates looked at")
    return 1 if findings or not crates else 0


def needed_to_run(resolve):
    """The crates that the program itself depends on, those for tests and build scripts left out."""
    nodes = {node["id"]: node for node in resolve["nodes"]}
    found, todo = set(), [resolve["root"]]
    while todo:
        crate = todo.pop()
        if crate not in found:
            found.add(crate)
            for needed in nodes[crate]["deps"]:
                if any(kind["kind"] is None for kind in needed["dep_kinds"]):
                    todo.append(needed["pkg"])
    return found


def licences(rules, crates):
    allowed = set(rules["licenses"]["allow"])
    for crate in crates:
        expression = crate["license"]
        if expression is None or not satisfied(expression, allowed):
            yield f"{crate['name']} {crate['version']}: licence {expression} is not allowed"


def satisfied(expression, allowed):
    """Whether an SPDX licence expression can be met with the licences allowed; the old form `MIT/Apache-2.0` is OR."""
    tokens = re.findall(r"\(|\)|[^\s()/]+|/", expression)

    def either():
        met = both()
        while tokens and tokens[0] in ("OR", "/"):
            tokens.pop(0)
            met = both() or met
        return met

    def both():
        met = one()
        while tokens and tokens[0] == "AND":
            tokens.pop(0)
            met = one() and met
        return met

    def one():
        token = tokens.pop(0)
        if token == "(":
            met = either()
            tokens.pop(0)
            return met
        if tokens and tokens[0] == "WITH":
            tokens.pop(0)
            token = f"{token} WITH {tokens.pop(0)}"
        return token in allowed

    return either()


def banned(rules, crates):
    names = {rule["name"] for rule in rules["bans"]["deny"]}
    for crate in crates:
        if crate["name"] in names:
            yield f"{crate['name']} {crate['version']}: banned"


def duplicates(rules, crates):
    skipped = {rule["name"] for rule in rules["bans"]["skip"]}
    versions = {}
    for crate in crates:
        if crate["name"] not in skipped:
            versions.setdefault(crate["name"], []).append(crate["version"])
    for name, found in sorted(versions.items()):
        if len(found) > 1:
            yield f"{name}: {len(found)} versions, {', '.join(sorted(found))}"


def sources(rules, crates):
    allowed = {f"registry+{registry}" for registry in rules["sources"]["allow-registry"]}
    for crate in crates:
        if crate["source"] is not None and crate["source"] not in allowed:
            yield f"{crate['name']} {crate['version']}: from {crate['source']}"


if __name__ == "__main__":
    sys.exit(main())
