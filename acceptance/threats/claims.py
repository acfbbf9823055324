"""Every threat in both arms, a claim each: stopped, and written down."""
import re
import tempfile
from datetime import datetime
from pathlib import Path

import arms
import network
from cases import CASES, LATER, NOT_RUN
from harness.cell import CHAPERONE, WORK
from harness.claims import Skipped, check, claim, expect, note

# The product on a machine without a network, and on one with it; each comes up when it is first needed.
GUARDS = {}


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


def guard(online):
    if online not in GUARDS:
        GUARDS[online] = (network.Online if online else arms.Protected)(CHAPERONE, Path(WORK))
    return GUARDS[online]


def attempted(case):
    if why := case.skip and case.skip():
        raise Skipped(why)
    wrong, logged, alerted = judge(case, Path(tempfile.mkdtemp(prefix="case-", dir=WORK)), guard(case.online))
    expect(not wrong, *wrong)
    note(f"technique {case.technique or '-'}, logged {logged}, alerted {alerted}")


def skipped(why):
    raise Skipped(why)


def register():
    """Every number of the threat list, in its order: an attempt, or why there is none."""
    for number in range(1, 96):
        cases = [case for case in CASES if case.number == number]
        for case in cases:
            check(f"{number:2} {case.name}", lambda case=case: attempted(case))
        for name, why in filter(None, (LATER.get(number), NOT_RUN.get(number))):
            check(f"{number:2} {name}", lambda why=why: skipped(why))
        if not cases and number not in LATER and number not in NOT_RUN:
            check(f"{number:2} has an attempt or a reason", lambda: expect(False, "it has neither"))


def tear_down():
    """A broker signs what the killed ones left without a checkpoint."""
    if not GUARDS:
        return
    with claim("the log verifies after all of that"):
        for product in GUARDS.values():
            product.processes()
            verified = product.command("audit", "verify")
            expect(verified.returncode == 0, tail(verified.stdout))
    for product in GUARDS.values():
        product.stop()


register()
