#!/usr/bin/env python3
"""Tests of scripts/circles, scripts/sizes and scripts/words on small crates made here: python3 scripts/test_checks.py"""
import pathlib, subprocess, sys, tempfile, unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True
import rust_text


class Checked(unittest.TestCase):
    def setUp(self):
        held = tempfile.TemporaryDirectory()
        self.addCleanup(held.cleanup)
        self.root = pathlib.Path(held.name)
        (self.root / "scripts").mkdir()

    def crate(self, **files):
        for name, text in files.items():
            path = self.root / "crates" / "one" / "src" / (name.replace("__", "/") + ".rs")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (self.root / "crates" / "one" / "Cargo.toml").touch()

    def script(self, name, *options):
        done = subprocess.run([sys.executable, HERE / name, *options, self.root], capture_output=True, text=True)
        self.assertEqual(done.stderr, "")
        return done.returncode, done.stdout

    def listed(self, *lines):
        (self.root / "scripts" / "circles.txt").write_text("".join(line + "\n" for line in lines))

    def circles(self):
        """The circles as the script writes them down."""
        self.script("circles", "--write", "--moved")
        return (self.root / "scripts" / "circles.txt").read_text().splitlines()


class Circles(Checked):
    def test_two_files_that_import_each_other_are_a_circle(self):
        self.crate(lib="mod a;\nmod b;", a="use crate::b::B;\npub struct A(B);", b="pub struct B;\nfn f(a: super::a::A) {}")
        self.assertEqual(self.circles(), ["one: a.rs b.rs"])

    def test_one_way_is_none(self):
        self.crate(lib="mod a;\nmod b;", a="use crate::b::B;\npub struct A(B);", b="pub struct B;")
        self.assertEqual(self.circles(), [])

    def test_declaring_and_re_exporting_a_child_is_no_import(self):
        self.crate(lib="mod a;\nmod error;\npub use a::A;\npub use error::Error;", a="use crate::Error;\npub struct A(Error);", error="pub struct Error;")
        self.assertEqual(self.circles(), [])

    def test_what_a_parent_re_exports_counts_for_the_file_that_defines_it(self):
        self.crate(lib="mod a;\nmod b;\npub use b::*;", a="use crate::B;\npub struct A(B);", b="pub struct B;\nfn f() { crate::a::A; }")
        self.assertEqual(self.circles(), ["one: a.rs b.rs"])

    def test_a_parent_that_uses_a_child_that_uses_it_is_a_circle(self):
        self.crate(lib="mod a;", a="mod inner;\npub struct A;\nfn f() { inner::g() }", a__inner="use super::A;\npub fn g() -> A { A }")
        self.assertEqual(self.circles(), ["one: a.rs a/inner.rs"])

    def test_re_exported_and_used_in_the_same_file_is_an_import(self):
        self.crate(lib="mod a;\npub use a::A;\npub struct L;\nfn f() -> A { A }", a="use crate::L;\npub struct A;")
        self.assertEqual(self.circles(), ["one: a.rs lib.rs"])

    def test_groups_aliases_and_modules_in_a_file_are_followed(self):
        self.crate(lib="mod a;\nmod b;", a="use crate::{b::{self as other, inner::C}};\npub struct A(C);\nfn f() { other::g() }",
                   b="pub mod inner { pub struct C; pub fn h() { super::super::a::A; } }\npub fn g() {}")
        self.assertEqual(self.circles(), ["one: a.rs b.rs"])

    def test_tests_comments_and_literals_are_left_out(self):
        self.crate(lib="mod a;\nmod b;", a="use crate::b::B;\npub struct A(B);",
                   b='pub struct B;\n// crate::a::A\nconst T: &str = "crate::a::A";\n#[cfg(test)]\nmod tests {\n    use crate::a::A;\n}\n#[cfg(test)]\nmod more;', b__more="use crate::a::A;\nuse super::*;")
        self.assertEqual(self.circles(), [])

    def test_the_list_may_only_shrink(self):
        a, b = "use crate::b::B;\npub struct A(B);", "pub struct B;\nfn f(a: crate::a::A) {}"
        self.crate(lib="mod a;\nmod b;\nmod c;", a=a, b=b, c="pub struct C;")
        self.listed("one: a.rs b.rs")
        self.assertEqual(self.script("circles")[0], 0)
        self.listed()
        code, told = self.script("circles")
        self.assertEqual((code, "a new circle: one: a.rs b.rs" in told), (1, True), told)
        self.script("circles", "--write")
        self.assertEqual((self.root / "scripts/circles.txt").read_text(), "", "what is new is not written down")
        self.listed("one: a.rs b.rs", "one: c.rs lib.rs")
        code, told = self.script("circles")
        self.assertEqual((code, "gone, take it off the list" in told), (1, True), told)
        self.assertEqual(self.script("circles", "--write")[0], 0)
        self.assertEqual((self.root / "scripts/circles.txt").read_text(), "one: a.rs b.rs\n")

    def test_a_circle_that_grows_fails_and_one_that_shrinks_is_written_down(self):
        self.crate(lib="mod a;\nmod b;\nmod c;", a="use crate::b::B;\npub struct A(B);", b="use crate::c::C;\npub struct B(C);", c="pub struct C;\nfn f(a: crate::a::A) {}")
        self.listed("one: a.rs b.rs")
        code, told = self.script("circles")
        self.assertEqual((code, "grown by c.rs" in told), (1, True), told)
        self.listed("one: a.rs b.rs c.rs lib.rs")
        code, told = self.script("circles")
        self.assertEqual((code, "smaller, write it down" in told), (1, True), told)
        self.assertEqual(self.script("circles", "--write")[0], 0)


class Sizes(Checked):
    def long(self, above="", lines=99):
        return f"{above}pub fn long(a: [u8; 4]) {{\n" + "    work();\n" * lines + "}\n"

    def test_a_function_of_a_hundred_lines_is_read_and_a_longer_one_is_not(self):
        self.crate(lib=self.long(lines=98))
        self.assertEqual(self.script("sizes")[0], 0)
        self.crate(lib=self.long())
        code, told = self.script("sizes")
        self.assertEqual((code, "lib.rs:1: fn long has 101 lines" in told), (1, True), told)

    def test_a_reason_above_it_is_accepted(self):
        self.crate(lib=self.long("/// What it does.\n// long because: one table of all calls.\n#[must_use]\n"))
        self.assertEqual(self.script("sizes")[0], 0)
        self.crate(lib=self.long("// long because: of something else\n\n"))
        self.assertEqual(self.script("sizes")[0], 1)

    def test_a_file_over_a_thousand_lines_fails(self):
        self.crate(lib="//\n" * 1000)
        self.assertEqual(self.script("sizes")[0], 0)
        self.crate(lib="//\n" * 1001)
        self.assertEqual(self.script("sizes")[0], 1)

    def test_the_broker_is_wiring(self):
        place = self.root / "crates" / "broker" / "src"
        place.mkdir(parents=True)
        for lines, code in ((1250, 0), (1251, 1)):
            for name in ("a.rs", "b.rs"):
                (place / name).write_text("//\n" * (lines - 500))
                (place / f"more_{name}").write_text("//\n" * 500)
            self.assertEqual(self.script("sizes")[0], code)


class Words(Checked):
    def write(self, path, text):
        at = self.root / path
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_text(text)

    def faults(self):
        code, told = self.script("words")
        faults = [line.split(": ")[0] for line in told.splitlines()[:-1]]
        self.assertEqual(code, 1 if faults else 0, told)
        return faults

    def test_what_users_and_agents_read_is_held_to_it(self):
        self.crate(lib='fn f() {\n    g("keep this folder");\n}', cli__run="/// Where the folder is\nstruct A;", tools='"the arguments are\n not right"')
        self.write("README.md", "\nThe person answers.\n")
        self.write("docs/deep/a.md", "Mend it.")
        self.write("packs/a.toml", 'description = "one folder"')
        self.write("packs/deep/a.rego", 'default advice := "in no folder"')
        self.assertEqual(self.faults(), [
            "README.md:2", "crates/one/src/cli/run.rs:1", "crates/one/src/lib.rs:2", "crates/one/src/tools.rs:1",
            "docs/deep/a.md:1", "packs/a.toml:1", "packs/deep/a.rego:1"])

    def test_names_comments_tests_and_quoted_code_are_not(self):
        self.crate(lib='// the folder\nfn folder() { g("folder"); }\n#[cfg(test)]\nmod tests { const A: &str = "a folder"; }', cli__tests='const A: &str = "a folder";')
        self.write("crates/one/tests/a.rs", 'const A: &str = "a folder";')
        self.write("docs/a.md", "`--folder` is a recommended flag\n```\nmkdir folder\n```\n")
        self.write("packs/a.rego", "folders := {1}\n")
        self.assertEqual(self.faults(), [])


class Text(unittest.TestCase):
    def test_comments_and_literals_are_blanked_in_place(self):
        text = "let a = \"{\\\"}\"; // }\nlet b = r#\"\"{\"#; /* { /* } */ { */ let c = '{'; let d: &'a str = b'\\'';\nfor \"x\" {}"
        blank = rust_text.blanked(text)
        self.assertEqual((len(blank), blank.count("\n")), (len(text), text.count("\n")))
        self.assertEqual([c for c in blank if c in "{}"], ["{", "}"])
        self.assertIn("&'a str", blank)


if __name__ == "__main__":
    unittest.main()
