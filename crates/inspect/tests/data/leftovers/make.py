#!/usr/bin/env python3
"""Makes the databases beside it: each once with cards and social security numbers, once (`plain-…`) with numbers and texts that any
program keeps. `make.py DIRECTORY`"""
import os
import pathlib
import random
import shutil
import sqlite3
import sys
import tempfile

SCHEMA = {
    "people": "CREATE TABLE people(id INTEGER PRIMARY KEY, name TEXT, ssn TEXT, card INTEGER)",
    "keyed": "CREATE TABLE keyed(name TEXT, card INTEGER PRIMARY KEY, note TEXT) WITHOUT ROWID",
    "first": "CREATE TABLE first(name TEXT, ssn TEXT, card TEXT)",
}


def luhn(body):
    total = sum(sum(divmod(int(d) * (2 if i % 2 == 0 else 1), 10)) for i, d in enumerate(reversed(body)))
    return body + str(-total % 10)


def person(n, r):
    ssn = f"{r.randint(100, 660)}-{r.randint(10, 99)}-{r.randint(1000, 9999)}"
    return f"Name{'x' * r.randint(0, 6)}{n}", ssn, int(luhn("4" + "".join(str(r.randint(0, 9)) for _ in range(14))))


def plain(n, r):
    return f"job-{n}", f"2026-11-{r.randint(10, 28)}T10:00:{r.randint(10, 59)}", 1_700_000_000_000_000 + r.randint(0, 10**12)


def connect(path, mode="delete"):
    db = sqlite3.connect(path, isolation_level=None)
    for pragma in ("page_size=1024", "secure_delete=off", f"journal_mode={mode}", "cache_size=4", "wal_autocheckpoint=0"):
        db.execute(f"PRAGMA {pragma}")
    return db


def fill(db, table, rows):
    for i, (name, ssn, card) in enumerate(rows):
        note = "n" * (3000 if i % 20 == 7 else 5)
        values = {"people": (i + 1, name, ssn, card), "keyed": (name, card, note), "first": (name, ssn, str(card))}[table]
        db.execute(f"INSERT INTO {table} VALUES ({','.join('?' * len(values))})", values)


def make(out, prefix, rows):
    def new(name, mode="delete"):
        path = os.path.join(work, name)
        return path, connect(path, mode)

    def keep(path, name):
        shutil.copy(path, out / f"{prefix}{name}")

    with tempfile.TemporaryDirectory() as work:
        path, db = new("a", "wal")
        db.execute(SCHEMA["people"])
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        fill(db, "people", rows)
        keep(path + "-wal", "rows.db-wal")
        path, db = new("b", "wal")
        db.execute(SCHEMA["first"])
        fill(db, "first", rows)
        keep(path + "-wal", "all.db-wal")
        path, db = new("c")
        for table in ("people", "first"):
            db.execute(SCHEMA[table])
        fill(db, "people", rows)
        db.execute("DELETE FROM people")
        db.close()
        keep(path, "emptied.db")
        path, db = new("d")
        db.execute(SCHEMA["first"])
        fill(db, "first", rows)
        db.execute("DELETE FROM first WHERE rowid % 7 IN (1, 2)")
        db.execute("UPDATE first SET name = 'a', ssn = 'b', card = 'c'")
        db.close()
        keep(path, "updated.db")
        path, db = new("e", "persist")
        db.execute(SCHEMA["people"])
        fill(db, "people", rows)
        db.execute("BEGIN")
        db.execute("UPDATE people SET name = 'a', ssn = 'b', card = 1")
        keep(path + "-journal", "hot.db-journal")
        db.execute("COMMIT")
        keep(path + "-journal", "over.db-journal")
        path, db = new("f")
        db.execute(SCHEMA["keyed"])
        db.execute("CREATE INDEX by_name ON keyed(name)")
        fill(db, "keyed", rows)
        db.close()
        keep(path, "keyed.db")
        path, db = new("g")
        db.execute("CREATE TABLE floats(name TEXT, card REAL)")
        for name, _, card in rows:
            db.execute("INSERT INTO floats VALUES (?, ?)", (name, float(card)))
        db.close()
        keep(path, "floats.db")


if __name__ == "__main__":
    r = random.Random(1)
    out = pathlib.Path(sys.argv[1])
    make(out, "", [person(n, r) for n in range(40)])
    make(out, "plain-", [plain(n, r) for n in range(40)])
