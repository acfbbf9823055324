"""A redacted copy can be edited: what the agent kept of it becomes the user's own again, and nothing else becomes anything."""
import json, os, re

from harness.cell import DOCS, PERSONAL, Cell, chaperone, last_session, read, write
from harness.claims import check, claim

JSON = '{\n  "people": [\n    {"name": "Jos\\u00e9", "ssn": "536-22-8145", "card": 4111111111111111},\n    {"name": "Bob", "ssn": "612-33-1234"}\n  ]\n}\n'
ENV = "HOST=localhost\nADMIN_SSN=536-22-8145\nADMIN_CARD=4111 1111 1111 1111\nDEBUG=1\n"
YAML = "people:\n  - name: Ada\n    ssn: \"536-22-8145\"\n    card: 4111 1111 1111 1111\n"
SECRETS = ["536-22-8145", "612-33-1234", "4111 1111 1111 1111", "4111111111111111"]


def edited(script, *options):
    """A session in which the files were edited, and what `commit` says of it."""
    cell = Cell("--ask", "redact", *options)
    told = cell(script)
    cell.end()
    return told


def changes():
    return chaperone("changes", last_session())


def commit(*arguments, **how):
    return chaperone("commit", last_session(), *arguments, **how)


@check("an edited redacted copy keeps the user's values")
def _():
    for name, text in [("people.csv", PERSONAL), ("people.json", JSON), ("app.env.txt", ENV), ("people.yaml", YAML)]:
        write(name, text)
    seen = edited("""
        import os, subprocess
        seen = {}
        for name in sorted(os.listdir('.')):
            seen[name] = open(name).read()
        # As editors do it: anew beside it and moved over it; in place; at the end; with a stream editor.
        with open('people.csv.new', 'w') as f: f.write(seen['people.csv'].replace('Bob Byte', 'Robert Byte'))
        os.rename('people.csv.new', 'people.csv')
        with open('people.json', 'r+') as f:
            text = f.read().replace('Bob', 'Robert'); f.seek(0); f.write(text); f.truncate()
        with open('people.yaml', 'a') as f: f.write('  - name: Cyd\\n')
        subprocess.run(['sed', '-i', 's/DEBUG=1/DEBUG=0/', 'app.env.txt'], check=True)
        result = seen
    """)
    with claim("the agent read none of the values"):
        assert all("[REDACTED:" in text for text in seen.values()), seen
        assert not [s for s in SECRETS if s in json.dumps(seen)], seen
    with claim("`changes` shows them as unchanged"):
        told = changes()
        assert "+  - name: Cyd" in told and "-DEBUG=1" in told and "+Robert Byte,612-33-1234" in told, told
        assert "-Ada Lovelace" not in told and "-ADMIN_" not in told and "REDACTED" not in told, told
    commit()
    with claim("every value is there byte for byte, and every edit"):
        assert read("people.csv") == PERSONAL.replace("Bob Byte", "Robert Byte"), read("people.csv")
        assert read("people.json") == JSON.replace("Bob", "Robert"), read("people.json")
        assert read("people.yaml") == YAML + "  - name: Cyd\n", read("people.yaml")
        assert read("app.env.txt") == ENV.replace("DEBUG=1", "DEBUG=0"), read("app.env.txt")
    with claim("`undo` takes it back as ever"):
        chaperone("undo", last_session())
        assert read("people.csv") == PERSONAL and read("people.json") == JSON


@check("a redacted copy is whole under whatever name it is read first")
def _():
    for name in ("moved.env", "folder/inner.env", "linked.env"):
        write(name, ENV)
    seen = edited("""
        import os
        os.rename('moved.env', 'other.env'); os.rename('folder', 'new'); os.link('linked.env', 'second.env')
        names = ['other.env', 'other.env', 'new/inner.env', 'second.env', 'linked.env']
        result = [[open(name).read(), os.stat(name).st_size] for name in names]
    """)
    with claim("to its last letter, and as large as it says"):
        assert all(text.endswith("]\nDEBUG=1\n") and len(text) == size for text, size in seen), seen


@check("a redacted file that is moved and written anew keeps its values, and one that is split is not taken away")
def _():
    write("ren.env.txt", ENV)
    write("people.csv", PERSONAL)
    edited("""
        import os, subprocess
        text = open('ren.env.txt').read()
        os.rename('ren.env.txt', 'renamed.env.txt')
        subprocess.run(['sed', '-i', 's/DEBUG=1/DEBUG=0/', 'renamed.env.txt'], check=True)
        head, *rows = open('people.csv').read().splitlines()
        for n, row in enumerate(rows): open(f'part{n}.csv', 'w').write(head + '\\n' + row + '\\n')
        os.remove('people.csv')
    """)
    with claim("`changes` shows it as one file under another name"):
        told = changes()
        assert "rename ren.env.txt → renamed.env.txt" in told and "-ADMIN_" not in told, told
    told = commit(fails=True)
    with claim("it is committed with its values"):
        assert read("renamed.env.txt") == ENV.replace("DEBUG=1", "DEBUG=0"), told
        assert not os.path.exists(os.path.join(DOCS, "ren.env.txt")), told
    with claim("the file whose rows went elsewhere stays with what waits for an answer"):
        assert "foreign_placeholder" in told and "moved_with" in told, told
        assert read("people.csv") == PERSONAL, told


@check("what was redacted and then packed is kept back, and nothing of it is taken away")
def _():
    for script in ("gzip people.csv", "xz people.csv", "tar cjf all.tar.bz2 people.csv; rm people.csv", "base64 -w0 people.csv > people.b64; rm people.csv",
                   "python3 -m zipfile -c all.zip people.csv; rm people.csv", "iconv -t UTF-32 people.csv > wide.csv; rm people.csv"):
        write("people.csv", PERSONAL)
        edited(f"import subprocess; subprocess.run(['bash', '-ec', {script!r}], check=True)")
        told = commit(fails=True)
        with claim(script):
            assert "cannot_restore" in told and "moved_with" in told, told
            assert read("people.csv") == PERSONAL and os.listdir(DOCS) == ["people.csv"], (os.listdir(DOCS), told)


@check("rows that went to another file keep those that stay waiting")
def _():
    write("app.env.txt", ENV)
    edited("""
        lines = open('app.env.txt').read().splitlines(True)
        open('second.txt', 'w').write(lines.pop(1))
        open('app.env.txt', 'w').write(''.join(lines))
    """)
    told = commit(fails=True)
    with claim("until the other is settled"):
        assert "foreign_placeholder" in told and "moved_with" in told and read("app.env.txt") == ENV, told


@check("a placeholder stands for nothing where it is not from")
def _():
    write("people.csv", PERSONAL)
    write("other.csv", "name,ssn\nEve,613-40-1177\n")
    edited("""
        text = open('people.csv').read()
        other = open('other.csv').read()
        open('notes.txt', 'w').write(text)
        open('other.csv', 'w').write(other + text.splitlines()[1] + '\\n')
        open('people.csv', 'w').write(text.replace('Ada', 'Ann'))
    """)
    with claim("a copy elsewhere is kept back with the reason"):
        told = commit(fails=True)
        assert "foreign_placeholder" in told, told
        assert not os.path.exists(os.path.join(DOCS, "notes.txt")), "notes.txt"
        assert read("other.csv") == "name,ssn\nEve,613-40-1177\n"
    with claim("what stands where it was is committed"):
        assert read("people.csv") == PERSONAL.replace("Ada", "Ann")
    with claim("named, the copy is committed as the agent wrote it, and holds no value"):
        chaperone("changes", last_session())
        commit("notes.txt")
        assert "[REDACTED:us_ssn:" in read("notes.txt") and not [s for s in SECRETS if s in read("notes.txt")]


@check("a placeholder of one session stands for nothing in another")
def _():
    write("people.csv", PERSONAL)
    first = edited("result = open('people.csv').read()")
    again = edited("result = open('people.csv').read()")
    with claim("two sessions have other placeholders for the same values"):
        tags = [set(re.findall(r"REDACTED:\w+:(\w+)", text)) for text in (first, again)]
        assert len(tags[0]) == 4 and not tags[0] & tags[1], tags
    with claim("those of the other session are kept back"):
        edited(f"open('people.csv', 'w').write({first!r})")
        assert "foreign_placeholder" in commit(fails=True)
        assert read("people.csv") == PERSONAL


@check("a damaged placeholder is told with its line and not committed")
def _():
    write("people.csv", PERSONAL)
    edited("""
        import re
        text = open('people.csv').read()
        open('people.csv', 'w').write(re.sub(r'(Bob Byte,\\[REDACTED:us_ssn:)(.)', r'\\1', text))
    """)
    with claim("`changes` tells the line"):
        told = changes()
        assert "1 placeholders stand for nothing here" in told and "in line 3" in told, told
    with claim("`commit` keeps it back with the reason"):
        assert "damaged_placeholder" in commit(fails=True)
        assert read("people.csv") == PERSONAL


@check("what is written around a placeholder does not bring its value into the open")
def _():
    keys = "AWS_KEY=AKIAQWERTYUIOPASDFGH\nGH=ghp_abcdefghijklmnopqrstuvwxyz0123456789\n"
    guarded = ["536-22-8145", "612-33-1234", "AKIAQWERTYUIOPASDFGH", "ghp_abcdefghijklmnopqrstuvwxyz0123456789"]
    for before, after in [("_", "_"), ("77", "88"), ("A", "")]:
        write("people.csv", PERSONAL)
        write("keys.txt", keys)
        edited(f"""
            import re
            for name in ('people.csv', 'keys.txt'):
                text = open(name).read()
                text = re.sub(r'(\\[RED[^\\]]*\\])', r'{before}\\g<1>{after}', text)
                open(name, 'w').write(text.replace('ssn', 'part'))
        """)
        with claim(f"{before!r} and {after!r} around it: the change is kept back, with the reason"):
            told = commit(fails=True)
            kept = [line for line in told.splitlines() if line.startswith("refused")]
            assert len(kept) == 2 and all("exposes_value" in line for line in kept), told
            assert read("people.csv") == PERSONAL and read("keys.txt") == keys
        # Whoever says so all the same has read what was shown.
        cell = Cell("--ask", "deny")
        read_again = cell("""
            result = []
            for name in ('people.csv', 'keys.txt'):
                try: result.append(open(name).read())
                except OSError as error: result.append(str(error))
        """)
        cell.end()
        with claim(f"{before!r} and {after!r} around it: the next session reads none of the values"):
            assert not [value for value in guarded if value in json.dumps(read_again)], read_again


@check("what is left out of a file does not bring the rest into the open")
def _():
    names = "anna ben carl dora emil fred gina hugo ida jon kurt lena mark nora otto paul quin rosa sam tina uwe vera will xena yara"
    rows = [f"{name}.miller@firm-{name}.de,{n}" for n, name in enumerate(names.split())]
    many = "email,n\n" + "\n".join(rows) + "\n"
    script = """
        lines = open('people.csv').read().splitlines(keepends=True)
        assert '[REDACTED:' in lines[1], lines[1]
        open('people.csv', 'w').writelines(lines[:{}])
    """
    for kept, is_open in [(20, True), (24, False)]:
        write("people.csv", many)
        edited(script.format(kept))
        if is_open:
            with claim("of 25 addresses, which are many together, 19 are left: kept back, with the reason"):
                assert "exposes_value" in commit(fails=True)
                assert read("people.csv") == many
        else:
            with claim("of 25 addresses 23 are left: they are guarded as before, and it is committed"):
                commit()
                assert read("people.csv") == "".join(many.splitlines(keepends=True)[:24]), read("people.csv")
