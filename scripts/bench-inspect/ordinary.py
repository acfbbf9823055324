#!/usr/bin/env python3
"""What content inspection says of ordinary work, and of labelled cases: figures, and whether they got worse.

  ordinary.py measure CHAPERONE SCORED      the figures as JSON: of the corpus (see scripts/corpus), and SCORED, what `score` printed
  ordinary.py table                         reads such figures and prints them
  ordinary.py check FIGURES                 reads such figures; fails when alarms or recall are worse than in the file
  ordinary.py files CHAPERONE certain|likely [KIND] [PATH…]   the findings themselves, of the part `seen` or of PATHs

An alarm is a file on whose reading the default policy asks (packs/policies/default/findings.rego). Private keys in PEM count
apart: test data is full of real ones.
"""
import collections, importlib.machinery, importlib.util, json, pathlib, re, subprocess, sys

HERE = pathlib.Path(__file__).resolve().parent
loader = importlib.machinery.SourceFileLoader("corpus", str(HERE.parent / "corpus"))
corpus = importlib.util.module_from_spec(importlib.util.spec_from_loader("corpus", loader))
sys.dont_write_bytecode = True
loader.exec_module(corpus)

GRAVE, BULK = {"critical", "high", "medium"}, 20
COMMON = {"email_address", "ip_address", "phone_number", "url"}
APART = {"private_key", "private_key_base64"}  # the detectors of keys in PEM


def below(place):
    """The files that are inspected, in an order that does not change."""
    return sorted(f for f in place.rglob("*") if f.is_file() and not f.is_symlink() and f.stat().st_size <= corpus.LARGEST) if place.is_dir() else [place]


def findings(chaperone, files):
    """Findings by file; those in an archive count for it. A file that cannot be inspected has one of the kind `unread`."""
    found = {str(f): [] for f in files}
    for at in range(0, len(files), 1000):
        run = subprocess.run([chaperone, "inspect", "--json", *files[at : at + 1000]], capture_output=True, text=True, errors="replace")
        for line in run.stdout.splitlines():
            said = json.loads(line)
            outer = said["file"] if said["file"] in found else said["file"].split("!/")[0]
            found[outer] += said["findings"]
            if "error" in said:
                found[outer].append({"detector": "unread", "certainty": "unread"})
    return found


def alarms(of_file, certainty):
    """The kinds that make the default policy ask about a file, were findings of this certainty to count."""
    weighty = [f for f in of_file if f["certainty"] == certainty]
    kinds = {f["detector"] for f in weighty if f["severity"] in GRAVE and f["confidence"] >= 0.5 and f["category"] in ("secret", "pii") and f["detector"] not in COMMON}
    common = [f for f in weighty if f["detector"] in COMMON]
    if sum(f["distinct"] for f in common) >= BULK:
        kinds |= {f["detector"] + " in bulk" for f in common}
    return kinds | {f["detector"] for f in of_file if f["category"] == "covert" and f["severity"] in GRAVE} if certainty == "certain" else kinds


def tally(found):
    """Files, and how many of them raise an alarm, by kind."""
    kinds = {"certain": collections.Counter(), "likely": collections.Counter()}
    out = {"files": len(found), "certain": 0, "keys": 0, "likely": 0, "unread": 0}
    for of_file in found.values():
        read = [f for f in of_file if f["certainty"] != "unread"]
        out["unread"] += len(read) < len(of_file)
        for certainty, counter in kinds.items():
            of = alarms(read, certainty)
            counter.update(of)
            out["keys"] += bool(of & APART)
            out[certainty] += bool(of - APART)
    return out, {certainty: dict(counter.most_common()) for certainty, counter in kinds.items()}


def measure(chaperone, scored):
    figures = {}
    for part in ("seen", "held"):
        files = below(corpus.PLACE / "files" / part)
        if not files or not files[0].is_file():
            continue
        found = findings(chaperone, files)
        whole, kinds = tally(found)
        groups = collections.defaultdict(dict)
        for file, of_file in found.items():
            groups[corpus.language(file)][file] = of_file
        languages = {name: tally(groups[name])[0] for name in sorted(groups, key=lambda n: -len(groups[n]))}
        figures[part] = {"all": whole, "kinds": kinds, "languages": languages}
    named = r"^(SECRETS|CORE PERSONAL DATA|NUMBERS WITH A CHECKSUM) +precision ([0-9.]+) +recall ([0-9.]+)"
    figures["cases"] = {m[1]: {"precision": float(m[2]), "recall": float(m[3])} for m in re.finditer(named, pathlib.Path(scored).read_text(), re.M)}
    return figures


def written(figures):
    """As JSON of a row a line, so that a change shows."""
    return re.sub(r"\{\n +(\"(?:files|precision)\"[^}]*?)\n +\}", lambda m: "{" + re.sub(r"\n +", " ", m[1]) + "}", json.dumps(figures, indent=1))


def in_1000(row, what):
    return f"{1000 * row[what] / max(1, row['files']):.2f}"


def table(figures):
    for part in ("seen", "held"):
        if part not in figures:
            continue
        print(f"\n{'ordinary files, ' + part + ': alarms in 1,000':<46} {'files':>8} {'certain':>8} {'keys':>8} {'likely':>8} {'unread':>8}")
        for name, row in [("all", figures[part]["all"]), *figures[part]["languages"].items()]:
            print(f"{name:<46} {row['files']:8} " + " ".join(f"{in_1000(row, what):>8}" for what in ("certain", "keys", "likely", "unread")))
        for certainty, kinds in figures[part]["kinds"].items():
            print(f"  {certainty}: " + (", ".join(f"{n} {kind}" for kind, n in list(kinds.items())[:12]) or "none"))
    if figures["cases"]:
        print(f"\n{'labelled cases: who':<46} {'precision':>10} {'recall':>10}")
    for name, row in figures["cases"].items():
        print(f"{'ours: ' + name:<46} {row['precision']:10.3f} {row['recall']:10.3f}")


def check(now, before):
    """What is worse than it was. A corpus that lacks a tenth of its files says nothing, and that is a fault too."""
    worse = []
    for part in ("seen", "held"):
        rows = {"all": before[part]["all"], **before[part]["languages"]}
        for name, was in rows.items():
            now_part = now.get(part, {"all": {"files": 0}, "languages": {}})
            row = now_part["all"] if name == "all" else now_part["languages"].get(name, {"files": 0})
            if row["files"] < 0.9 * was["files"]:
                worse.append(f"{part}, {name}: {row['files']} files of {was['files']}: run scripts/corpus")
            elif row["certain"] > was["certain"]:
                worse.append(f"{part}, {name}: {row['certain']} alarms, {was['certain']} before")
    for name, was in before["cases"].items():
        for what in ("recall", "precision"):
            if now["cases"].get(name, {what: 0})[what] < was[what]:
                worse.append(f"cases, {name}: {what} {now['cases'].get(name, {what: 0})[what]}, {was[what]} before")
    return worse


def files(chaperone, certainty, kind=None, *paths):
    """One line a finding: file, kind, where, how often. Of the part `seen`, unless told other places; never of `held`."""
    for place in paths or [corpus.PLACE / "files/seen"]:
        for file, of_file in findings(chaperone, below(pathlib.Path(place))).items():
            for f in of_file:
                if f["certainty"] == certainty and kind in (None, "", f["detector"]):
                    print(file, f["detector"], f.get("where", "-"), f"{f.get('count')}x{f.get('distinct')}", sep="\t")


if __name__ == "__main__":
    what, arguments = (sys.argv[1:2] or [""])[0], sys.argv[2:]
    if what == "measure":
        print(written(measure(*arguments)))
    elif what == "table":
        table(json.load(sys.stdin))
    elif what == "check":
        worse = check(json.load(sys.stdin), json.loads(pathlib.Path(arguments[0]).read_text()))
        sys.exit("\n".join(worse) if worse else 0)
    elif what == "files":
        files(*arguments)
    else:
        sys.exit(__doc__)
