"""Claims about folders that the agent works on directly: read-only and staged mounts."""
import os, socket, subprocess

from cell import DOCS, WORK, Cell, claim, read, refused, write


def profile(mode, *lines):
    """A profile with one mount of that mode."""
    folder = os.path.join(os.environ["CHAPERONE_HOME"], "config", "profiles")
    os.makedirs(folder, exist_ok=True)
    for private in (folder, os.path.dirname(folder)):
        os.chmod(private, 0o700)
    with open(os.path.join(folder, f"a-{mode}.toml"), "w") as f:
        f.write("\n".join([f'name = "a-{mode}"', "[[mount]]", 'path = "/workspace"', f'mode = "{mode}"', *lines]))
    return f"a-{mode}"


@claim
def a_read_only_folder_is_read_and_not_written():
    write("in/data.txt", "data")
    os.symlink("in/data.txt", os.path.join(DOCS, "link"))
    cell = Cell("--profile", profile("read-only", 'actions = ["read", "list"]'))
    assert cell("import os; result = [open('link').read(), sorted(os.listdir('.')), os.stat('in/data.txt').st_size]") == \
        ["data", ["in", "link"], 4]
    for attempt in ("open('in/data.txt', 'a')", "open('new', 'w')", "os.unlink('link')", "os.chmod('in/data.txt', 0o777)"):
        refused(cell, attempt)
    write("in/data.txt", "more data")
    assert cell("result = open('in/data.txt').read()") == "more data"
    cell.end()
    assert sorted(os.listdir(DOCS)) == ["in", "link"] and read("in/data.txt") == "more data"


@claim
def what_listens_at_a_socket_in_the_folder_cannot_be_reached():
    attempt = """
import os, socket
told = []
with socket.socket(socket.AF_UNIX) as s:
    try:
        s.connect("agent.sock")
        told.append("reached")
    except OSError as e:
        told.append(type(e).__name__)
try:
    os.write(os.open("pipe", os.O_WRONLY | os.O_NONBLOCK), b"x")
    told.append("written")
except OSError as e:
    told.append(type(e).__name__)
result = told
"""
    listener = socket.socket(socket.AF_UNIX)
    here = os.getcwd()
    os.chdir(DOCS)
    listener.bind("agent.sock")
    os.chdir(here)
    listener.listen()
    os.mkfifo(os.path.join(DOCS, "pipe"))
    for name in ("agent.sock", "pipe"):
        os.chmod(os.path.join(DOCS, name), 0o777)
    pipe = os.open(os.path.join(DOCS, "pipe"), os.O_RDONLY | os.O_NONBLOCK)
    bind = f"mount --bind {DOCS} {DOCS} && mount -o remount,bind,ro {DOCS} && cd {DOCS} && exec /usr/bin/python3 -c '{attempt}print(result)'"
    bare = subprocess.run(["unshare", "-Urmn", "sh", "-c", bind], capture_output=True, text=True)
    assert bare.stdout.strip() == "['reached', 'written']", bare
    cell = Cell("--profile", profile("read-only", 'actions = ["read", "list"]'))
    assert cell(attempt) == ["ConnectionRefusedError", "OSError"]
    cell.end()
    listener.close()
    os.close(pipe)
