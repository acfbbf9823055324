"""Policy files with mistakes in them, and where they may lie."""
import os, signal, subprocess

from harness.cell import CHAPERONE, CONFIG, DOCS, broker, chaperone, run, until, write
from ways import once

FOLDER = os.path.join(CONFIG, "policies")
DENY = 'package chaperone.{name}\nimport rego.v1\ndecision := {{"effect": "deny", "reasons": ["mine"]}} if input.path == "/workspace/{name}.txt"\n'


def policy(name, text, mode="w"):
    path = os.path.join(FOLDER, name)
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    for folder in (CONFIG, FOLDER, os.path.dirname(path)):
        os.chmod(folder, 0o700)
    with open(path, mode) as f:
        f.write(text)
    return path


def over(path):
    os.unlink(path)
    subprocess.run([CHAPERONE, "policy", "reload"], capture_output=True)


def restart():
    os.kill(pid := broker(), signal.SIGTERM)
    assert until(lambda: not os.path.exists(f"/proc/{pid}"), 20)


def said(*command):
    done = subprocess.run([CHAPERONE, *command], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)
    return done.stdout + done.stderr


@once
def a_broken_policy_is_told_with_file_and_line_by_run_and_doctor_and_check(way):
    chaperone("sessions")
    path = policy("broken.rego", "package chaperone.broken\nimport rego.v1\ndecision := {{\n")
    try:
        for command in (["policy", "check"], ["doctor"], ["run", "--workspace", DOCS, "--", "true"]):
            told = said(*command)
            assert "broken.rego:" in told, (command, told)
    finally:
        over(path)


# Each parses, and would say something else than its author wrote.
MISWRITTEN = {
    "import.rego": "package chaperone.mine\nimprt rego.v1\ndecision := {\"effect\": \"deny\", \"reasons\": [\"mine\"]} if startswith(input.path, \"/workspace/payroll/\")\n",
    "none.rego": "package chaperone.mine\n\ndecision := {\"effect\": \"deny\", \"reasons\": [\"mine\"]} if startswith(input.path, \"/workspace/payroll/\")\n",
    "effect.rego": "package chaperone.mine\nimport rego.v1\ndecision := {\"effect\": \"aks\", \"reasons\": [\"mine\"]} if startswith(input.path, \"/workspace/payroll/\")\n",
}


@once
def a_policy_that_says_something_else_than_its_author_wrote_is_refused_by_check_reload_run_and_doctor(way):
    write("payroll/p.txt", "p\n")
    write("notes.txt", "n\n")
    for name, text in MISWRITTEN.items():
        path = policy(name, text)
        try:
            for command in (["policy", "check"], ["policy", "reload"], ["doctor"]):
                told = said(*command)
                assert f"{name}:" in told and "in force: " not in told, (command, told)
            # What was in force before stays so.
            done = way.ran("sh", "-c", "cat notes.txt payroll/p.txt", options=("--workspace", DOCS))
            assert f"{name}:" in done.stderr and done.stdout == "n\np\n", done
        finally:
            over(path)


@once
def after_a_restart_a_broken_policy_is_told_and_the_last_good_ones_hold(way):
    write("good.txt", "x\n")
    write("other.txt", "y\n")
    good = policy("good.rego", DENY.format(name="good"))
    chaperone("policy", "reload")
    path = policy("broken.rego", "package chaperone.broken\nimport rego.v1\ndecision := {{\n")
    try:
        restart()
        done = way.ran("sh", "-c", "cat good.txt; cat other.txt", options=("--workspace", DOCS))
        assert "broken.rego:" in done.stderr and done.stdout == "y\n", done
    finally:
        os.unlink(good)
        over(path)


@once
def policies_in_sub_directories_are_in_force(way):
    write("below.txt", "x\n")
    path = policy("team/below.rego", DENY.format(name="below"))
    try:
        chaperone("policy", "reload")
        out, _ = run("cat below.txt || true", "--ask", "deny")
        assert out == "", out
    finally:
        over(path)


@once
def a_byte_order_mark_is_skipped(way):
    write("marked.txt", "x\n")
    path = policy("marked.rego", b"\xef\xbb\xbf" + DENY.format(name="marked").encode(), "wb")
    try:
        chaperone("policy", "reload")
        out, _ = run("cat marked.txt || true", "--ask", "deny")
        assert out == "", out
    finally:
        over(path)
