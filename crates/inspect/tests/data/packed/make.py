#!/usr/bin/env python3
"""Makes the pickles and property lists beside it: with cards and social security numbers, and (`plain-…`) with what any program keeps.
`make.py DIRECTORY`"""
import collections
import datetime
import pathlib
import pickle
import plistlib
import random
import struct
import sys


def luhn(body):
    total = sum(sum(divmod(int(d) * (2 if i % 2 == 0 else 1), 10)) for i, d in enumerate(reversed(body)))
    return body + str(-total % 10)


class Person:
    def __init__(self, row):
        self.name, self.ssn, self.number = row


def person(n, r):
    ssn = f"{r.randint(100, 660)}-{r.randint(10, 99)}-{r.randint(1000, 9999)}"
    return f"Name {n}", ssn, int(luhn("4" + "".join(str(r.randint(0, 9)) for _ in range(14))))


def plain(n, r):
    return f"layer.{n}.weight", f"2026-11-{r.randint(10, 28)}", 4_000_000_000_000_000 + r.randint(0, 10**14)


def make(out, prefix, rows):
    def keep(name, data):
        (out / f"{prefix}{name}").write_bytes(data)

    records = [dict(zip(("name", "ssn", "number"), row)) for row in rows]
    columns = {key: [record[key] for record in records] for key in ("name", "ssn", "number")}
    for protocol in (2, 3, 4, 5):
        keep(f"records-{protocol}.pickle", pickle.dumps(records, protocol))
    keep("columns.pkl", pickle.dumps(columns, 4))
    keep("rows.pkl", pickle.dumps(rows, 4))
    keep("numbers.pickle", pickle.dumps([row[2] for row in rows], 4))
    keep("floats.pickle", pickle.dumps({"number": [float(row[2]) for row in rows], "ssn": [row[1] for row in rows]}, 4))
    keep("objects.pickle", pickle.dumps([Person(row) for row in rows], 5))
    # As a frame keeps whole numbers: the bytes of the array.
    array = struct.pack(f"<{2 * len(rows)}q", *range(len(rows)), *(row[2] for row in rows))
    keep("array.pickle", pickle.dumps(collections.OrderedDict(shape=(2, len(rows)), data=array, ssn=columns["ssn"]), 4))
    keep("people.plist", plistlib.dumps(records, fmt=plistlib.FMT_BINARY))
    keep("columns.plist", plistlib.dumps({**columns, "when": datetime.datetime(2026, 11, 26)}, fmt=plistlib.FMT_BINARY))


if __name__ == "__main__":
    r = random.Random(2)
    out = pathlib.Path(sys.argv[1])
    make(out, "", [person(n, r) for n in range(30)])
    make(out, "plain-", [plain(n, r) for n in range(30)])
