"""The audit log, when a file of it is damaged."""
import datetime, glob, json, os, signal, subprocess

from harness.cell import CHAPERONE, WORK, chaperone, last_session, run
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


@once
def a_query_takes_moments_as_they_are_written_and_refuses_what_is_none(way):
    run("true")
    session = last_session()
    now = datetime.datetime.now(datetime.timezone.utc)

    def found(option, minutes, offset):
        zone = datetime.timezone(datetime.timedelta(hours=offset))
        moment = (now + datetime.timedelta(minutes=minutes)).astimezone(zone).isoformat()
        return chaperone("audit", "query", "--session", session, option, moment)

    for offset in (2, 0, -5):
        assert "start" in found("--since", -5, offset) and found("--since", 5, offset) == "", offset
        assert "start" in found("--until", 5, offset) and found("--until", -5, offset) == "", offset
    assert "start" in chaperone("audit", "query", "--session", session, "--since", "15m")
    for option, wrong, meant in (("--since", "yesterday", "RFC 3339"), ("--until", "5", "RFC 3339"), ("--effect", "alow", "allow"), ("--action", "conect", "connect")):
        done = subprocess.run([CHAPERONE, "audit", "query", option, wrong], capture_output=True, text=True, timeout=60)
        assert done.returncode == 2 and meant in done.stderr and not done.stdout, done


@once
def a_command_of_the_users_is_refused_in_a_cell_before_it_tries_anything(way):
    out, session = run("for c in doctor sessions 'audit verify' 'vault show' inventory; do chaperone $c 2>&1 && echo went through; done; true")
    lines = out.splitlines()
    assert len(lines) == 5 and all("runs in a cell" in line for line in lines), out
    alerts = [r for r in map(json.loads, chaperone("audit", "query", "--session", session, "--json").splitlines()) if r["phase"] == "alert"]
    assert alerts == [], alerts
