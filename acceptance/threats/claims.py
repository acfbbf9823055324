"""python3 threats CHAPERONE [NUMBER…]: every threat in both arms, a line each, and the sum."""
import re
import sys
import tempfile
import shutil
import subprocess
from datetime import datetime
from pathlib import Path

import arms
import network
from cases import CASES, LATER, NOT_RUN


def judge(case, root, product):
    """What is wrong with one case: an empty list means stopped."""
    (root / "b").mkdir()
    (root / "c").mkdir()
    if case.online:
        bare = case.bare(product, root / "b")
    else:
        bare = case.bare(root / "b") if case.bare else arms.unprotected(case, root / "b")
    wrong = []
    if not case.effect(bare):
        wrong.append("the unprotected arm came to nothing, so nothing was shown: " + tail(bare.text))
    cell = case.cell(product, root / "c") if case.cell else product.run(case, root / "c")
    if not cell.session and case.rule:
        return wrong + ["no session: " + tail(cell.text)], "", ""
    if case.effect(cell):
        wrong.append("it had its effect in the cell: " + tail(cell.text))
    if cell.world and cell.world.canary in cell.text:
        wrong.append("the canary is in the output: " + tail(cell.text))
    if case.ends not in cell.text:
        wrong.append("the attempt, or an honest program after it, did not reach its end in the cell: " + tail(cell.text))
    if case.twin and not case.cell and not (cell.world.workspace / "twin.txt").exists():
        wrong.append("what an honest program wrote was not committed: " + tail(cell.text))
    logged = alerted = "-"
    if case.rule:
        fits = [r for r in cell.records if any(rule in " ".join([r["rule"] or "", *r["reasons"]]) for rule in case.rule.split("|")) and
                r["session"] and (not case.technique or r["technique"] in case.techniques)]
        late = fits and not soon(cell.text, fits, 1)
        if late:
            wrong.append(f"no record within a second: {[r['time'] for r in fits]}")
        logged = "yes" if fits else "no"
        if not fits:
            near = [(r["phase"], r["action"], r["resource"], r["rule"], r["technique"]) for r in cell.records if r["effect"] == "deny"]
            wrong.append(f"no record with rule {case.rule} and technique {case.technique}; there are {near}")
        if case.alert:
            alerted = "yes" if any(r["phase"] == "alert" for r in fits) else "no"
            if alerted == "no" and fits:
                wrong.append(f"no alert with rule {case.rule} and technique {case.technique}")
            elif fits and not soon(cell.text, [r for r in fits if r["phase"] == "alert"], 5):
                wrong.append("no alert within five seconds")
            if not any(word in cell.text for word in ("ALERT", "refused ")):
                wrong.append("no line of it in the terminal: " + tail(cell.text))
    return wrong, logged, alerted


def soon(text, records, seconds):
    """Whether one of the records follows an attempt so soon, where attempts say when they begin."""
    begun = [float(at) for at in re.findall(r"^AT ([0-9.]+)$", text, re.M)]
    return not begun or any(at - 0.01 <= datetime.fromisoformat(r["time"]).timestamp() <= at + seconds for r in records for at in begun)


def tail(text):
    return " | ".join(text.strip().splitlines()[-6:])[-600:]


def main():
    chaperone, chosen = sys.argv[1], {int(n) for n in sys.argv[2:]}
    root = Path(tempfile.mkdtemp(prefix="chaperone-threats-", dir="/tmp"))
    product = arms.Protected(chaperone, root)
    online = None
    counts = {"stopped": 0, "later": 0, "not run": 0, "failed": 0}
    numbers = {c.number for c in CASES} | set(LATER) | set(NOT_RUN)
    missing = sorted(set(range(1, 96)) - numbers)
    lines = {}
    for number, (name, issue) in LATER.items():
        lines[number] = [("later", f"LATER   {number:2} {name}: {issue}")]
    for number, (name, why) in NOT_RUN.items():
        lines[number] = [("not run", f"NOT RUN {number:2} {name}: {why}")]
    for number in missing:
        lines[number] = [("failed", f"FAILED  {number:2} has neither an attempt nor a reason")]
    for case in CASES:
        lines.setdefault(case.number, []).append(("case", case))
    print(f"        {'no':>2} {'threat':34} {'technique':10} {'logged':7} {'alerted':7}")
    try:
        for number in sorted(lines):
            if chosen and number not in chosen:
                continue
            for kind, what in lines[number]:
                if kind != "case":
                    counts[kind] += 1
                    print(what, flush=True)
                    continue
                skip = what.skip() if what.skip else None
                if skip:
                    counts["not run"] += 1
                    print(f"NOT RUN {number:2} {what.name}: {skip}", flush=True)
                    continue
                place = Path(tempfile.mkdtemp(prefix="case-", dir=root))
                try:
                    if what.online and online is None:
                        online = network.Online(chaperone, root)
                    wrong, logged, alerted = judge(what, place, online if what.online else product)
                except (subprocess.TimeoutExpired, OSError, ValueError, KeyError) as e:
                    wrong, logged, alerted = [f"{type(e).__name__}: {e}"[:500]], "", ""
                counts["failed" if wrong else "stopped"] += 1
                verdict = "FAILED " if wrong else "stopped"
                print(f"{verdict} {number:2} {what.name:34} {what.technique or '-':10} {logged:7} {alerted:7}", flush=True)
                for line in wrong:
                    print("           ", line, flush=True)
        # A broker signs what the killed ones left without a checkpoint.
        for guard in filter(None, (product, online)):
            guard.processes()
            verified = guard.command("audit", "verify")
            if verified.returncode != 0:
                counts["failed"] += 1
                print("FAILED     the log verifies after all of that:", tail(verified.stdout))
            else:
                print("ok         the log verifies after all of that")
    finally:
        product.stop()
        if online:
            online.stop()
        shutil.rmtree(root, ignore_errors=True)
    print("{stopped} stopped, {later} later, {not run} not run, {failed} failed".format(**counts))
    return 1 if counts["failed"] else 0


sys.exit(main())
