//! What the user redirects: it arrives, and is never in the agent's hands.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use common::{bare, can_launch, err, out, program};

fn cell(command: &[&str]) -> Command {
    let mut bare = Command::new(bare());
    bare.args(command).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    bare
}

/// Everything that a descriptor of somebody's file is good for, but reading and writing along.
const GRASP: &str = "
import os, stat, mmap
for fd in (0, 1, 2):
    for name, attempt in [
        ('mode', lambda: os.fchmod(fd, 0o4777)), ('length', lambda: os.ftruncate(fd, 0)),
        ('what was before', lambda: os.pread(fd, 9, 0)), ('overwrite', lambda: os.pwrite(fd, b'X', 0)),
        ('times', lambda: os.utime(fd, (0, 0))), ('attribute', lambda: os.setxattr(fd, 'user.mine', b'1')),
        ('map', lambda: mmap.mmap(fd, 1)),
        ('reopen', lambda: os.open(f'/proc/self/fd/{fd}', os.O_RDWR | os.O_TRUNC)),
    ]:
        try: attempt()
        except (OSError, ValueError): pass
    kind = os.fstat(fd).st_mode
    assert not stat.S_ISREG(kind) and not stat.S_ISBLK(kind), fd
print('done', flush=True)
";

#[test]
fn a_redirected_file_keeps_its_mode_its_content_and_its_name() {
    let name = "a_redirected_file_keeps_its_mode_its_content_and_its_name";
    if !can_launch(name) || !program("python3") {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let (prompt, log, errors) =
        (place.path().join("prompt"), place.path().join("log"), place.path().join("errors"));
    fs::write(&prompt, "the prompt").unwrap();
    fs::write(&log, "what was there\n").unwrap();
    fs::write(&errors, "").unwrap();
    for file in [&prompt, &log, &errors] {
        fs::set_permissions(file, fs::Permissions::from_mode(0o640)).unwrap();
    }
    let ended = cell(&["/usr/bin/python3", "-c", GRASP])
        .stdin(OpenOptions::new().read(true).write(true).open(&prompt).unwrap())
        .stdout(OpenOptions::new().append(true).open(&log).unwrap())
        .stderr(OpenOptions::new().read(true).write(true).open(&errors).unwrap())
        .status()
        .unwrap();
    assert!(ended.success(), "{}", fs::read_to_string(&errors).unwrap());
    assert_eq!(fs::read_to_string(&prompt).unwrap(), "the prompt");
    assert_eq!(fs::read_to_string(&log).unwrap(), "what was there\ndone\n");
    for file in [&prompt, &log, &errors] {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o7777, 0o640, "{}", file.display());
    }
}

#[test]
fn what_comes_in_and_what_goes_out_is_whole_and_in_order() {
    let name = "what_comes_in_and_what_goes_out_is_whole_and_in_order";
    if !can_launch(name) {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("from"), place.path().join("to"));
    let bytes: Vec<u8> = (0..5_000_000u32).map(|i| (i % 251) as u8).collect();
    fs::write(&from, &bytes).unwrap();
    let ended =
        cell(&["/bin/cat"]).stdin(File::open(&from).unwrap()).stdout(File::create(&to).unwrap()).status();
    assert!(ended.unwrap().success());
    assert!(fs::read(&to).unwrap() == bytes);
    // Output and error in one file.
    let both = File::create(&to).unwrap();
    let script = "for i in 1 2 3 4 5 6 7 8 9; do echo out $i; echo err $i >&2; done";
    let ended =
        cell(&["/bin/sh", "-c", script]).stdout(both.try_clone().unwrap()).stderr(both).status().unwrap();
    assert!(ended.success());
    let wanted: String = (1..10).map(|i| format!("out {i}\nerr {i}\n")).collect();
    let got = fs::read_to_string(&to).unwrap();
    // The launcher of these tests reports into the same file, whenever it gets to it.
    let of_the_program: String = got.split_inclusive('\n').filter(|l| l.starts_with(['o', 'e'])).collect();
    assert_eq!(of_the_program, wanted, "{got}");
}

#[test]
fn nothing_is_lost_of_others_that_write_to_the_same_file() {
    let name = "nothing_is_lost_of_others_that_write_to_the_same_file";
    if !can_launch(name) {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let log = place.path().join("log");
    let mut ours = File::create(&log).unwrap();
    let script = "i=0; while [ $i -lt 3000 ]; do echo agent; i=$((i+1)); done";
    let mut running = cell(&["/bin/sh", "-c", script]).stdout(ours.try_clone().unwrap()).spawn().unwrap();
    let mut written = 0;
    while running.try_wait().unwrap().is_none() {
        ours.write_all(b"ours\n").unwrap();
        written += 1;
    }
    let text = fs::read_to_string(&log).unwrap();
    let count = |line: &str| text.lines().filter(|l| *l == line).count();
    assert_eq!((count("agent"), count("ours")), (3000, written));
}

#[test]
fn what_the_agent_did_not_read_is_left_for_the_next() {
    let name = "what_the_agent_did_not_read_is_left_for_the_next";
    if !can_launch(name) {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let list = place.path().join("list");
    fs::write(&list, "one\ntwo\nthree\n".repeat(50_000)).unwrap();
    let mut file = File::open(&list).unwrap();
    assert!(cell(&["/bin/true"]).stdin(file.try_clone().unwrap()).status().unwrap().success());
    assert_eq!(file.stream_position().unwrap(), 0);
    let read = "read a; read b; test \"$b\" = two";
    let read =
        cell(&["/bin/sh", "-c", read]).stdin(file.try_clone().unwrap()).stdout(Stdio::piped()).output();
    let read = read.unwrap();
    assert!(read.status.success(), "{}", out(&read));
    let mut rest = String::new();
    file.read_to_string(&mut rest).unwrap();
    assert!(rest.starts_with("three\n"), "{:?}", rest.get(..20));
}

#[test]
fn a_full_disk_reaches_the_agent() {
    let name = "a_full_disk_reaches_the_agent";
    if !can_launch(name) {
        return;
    }
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let ended = cell(&["/bin/sh", "-c", "head -c 1000000 /dev/zero"]).stdout(full).status().unwrap();
    assert!(!ended.success());
}

#[test]
fn a_named_pipe_keeps_its_mode() {
    let name = "a_named_pipe_keeps_its_mode";
    if !can_launch(name) || !program("python3") {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let fifo = place.path().join("fifo");
    assert!(Command::new("mkfifo").arg("-m").arg("640").arg(&fifo).status().unwrap().success());
    let mut both = OpenOptions::new().read(true).write(true).open(&fifo).unwrap();
    both.write_all(b"hello\n").unwrap();
    let code = "import os; os.read(0, 6)\ntry: os.fchmod(0, 0o4777)\nexcept OSError: pass";
    let ended = cell(&["/usr/bin/python3", "-c", code]).stdin(both).stderr(Stdio::piped()).output().unwrap();
    assert!(ended.status.success(), "{}", err(&ended));
    assert_eq!(fifo.metadata().unwrap().permissions().mode() & 0o7777, 0o640);
}
