"""The audit log, when a file of it is damaged."""
import glob, json, os, signal, subprocess

from harness.cell import CHAPERONE, WORK, chaperone
from ways import once


@once
def a_damaged_checkpoint_is_archived_by_a_command_and_work_goes_on(way):
    home = os.path.join(WORK, "damaged")
    os.mkdir(home, 0o700)
    env = {**os.environ, "CHAPERONE_HOME": home}
    call = lambda *a: subprocess.run([CHAPERONE, *a], capture_output=True, text=True, env=env, stdin=subprocess.DEVNULL, timeout=60)
    os.kill(json.loads(call("sessions", "--json").stdout)["broker"]["pid"], signal.SIGKILL)
    [checkpoint] = glob.glob(os.path.join(home, "state/audit/**/checkpoint"), recursive=True)
    with open(checkpoint, "w") as f:
        f.write("damaged\n")
    assert call("sessions").returncode != 0
    done = call("audit", "archive")
    assert done.returncode == 0, done
    again = call("audit", "verify")
    assert again.returncode == 0, again
    os.kill(json.loads(call("sessions", "--json").stdout)["broker"]["pid"], signal.SIGKILL)
    assert chaperone("sessions") is not None
