"""python3 file-system CHAPERONE WORK [CLAIM]: what programs rely on of a mounted folder."""
import os, subprocess, sys, textwrap, traceback

from cell import CLAIMS, DOCS
import mediated, staged  # noqa: F401: they bring their claims

CHOSEN = [f for f in CLAIMS if len(sys.argv) < 4 or sys.argv[3] in f.__name__]


def main():
    failed = 0
    for f in CHOSEN:
        subprocess.run(["rm", "-rf", DOCS])
        os.makedirs(DOCS)
        name = f.__name__.replace("_", " ")
        try:
            f()
            print(f"ok      {name}", flush=True)
        except BaseException:
            failed += 1
            print(f"FAILED  {name}", flush=True)
            print(textwrap.indent("\n".join(traceback.format_exc().splitlines()[-12:]), "        "), flush=True)
    print(f"{len(CHOSEN) - failed} passed, {failed} failed")
    sys.exit(failed != 0)


main()
