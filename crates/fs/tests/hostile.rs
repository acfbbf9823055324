//! A guest whose kernel is the agent's: requests that no kernel sends.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use chaperone_fs::{
    ChangeRequest, Closed, Decides, Gate, OpenRequest, Opened, Opening, Options, Refused, Tree, serve,
};
use chaperone_quota::Quota;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair};
use support::{Mount, text, u32s, u64s};

const LOOKUP: u32 = 1;
const GETATTR: u32 = 3;
const EBADF: i32 = 9;
const O_WRONLY: u32 = 1;

/// Lets everything through: what is held back is held back by the server itself.
struct Anything;

impl Decides for Anything {
    fn change(&self, _: &ChangeRequest<'_>) -> Result<u64, Refused> {
        Ok(0)
    }
}

impl Gate for Anything {
    fn open(&self, _: OpenRequest) -> Opening {
        Opening::Now(Ok(Opened { handle: 0, bytes: None }))
    }

    fn changed(&self, _: &ChangeRequest<'_>, _: u64, _: bool) {}

    support::shows_every_name!();

    fn closed(&self, _: u64, _: &Closed<'_>) {}
}

/// The user's directory with something beside it.
fn place() -> (tempfile::TempDir, Arc<Tree>) {
    let own = tempfile::tempdir().unwrap();
    let docs = own.path().join("docs");
    fs::create_dir_all(docs.join("dir")).unwrap();
    fs::write(docs.join("a"), "the user's").unwrap();
    fs::write(docs.join("dir/b"), "the user's").unwrap();
    fs::write(own.path().join("secret"), "nobody's business").unwrap();
    std::os::unix::fs::symlink("../secret", docs.join("link")).unwrap();
    let root = File::open(&docs).unwrap().into();
    let tree = Tree::open(&own.path().join("stage"), root, &Quota::unlimited()).unwrap();
    (own, Arc::new(tree))
}

fn is_as_it_was(own: &Path) {
    for (at, text) in
        [("docs/a", "the user's"), ("docs/dir/b", "the user's"), ("secret", "nobody's business")]
    {
        assert_eq!(fs::read_to_string(own.join(at)).unwrap(), text, "{at}");
    }
    let names = |at: &str| {
        let mut names: Vec<_> =
            fs::read_dir(own.join(at)).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(""), ["docs", "secret", "stage"]);
    assert_eq!(names("docs"), ["a", "dir", "link"]);
    assert_eq!(names("docs/dir"), ["b"]);
}

#[test]
fn names_that_lead_elsewhere_are_no_names() {
    let (own, tree) = place();
    let mount = Mount::new(tree, Arc::new(Anything));
    for name in ["..", ".", "", "../secret", "/etc/passwd", "dir/b", "dir/../../secret"] {
        for opcode in [LOOKUP, 10, 11] {
            assert!(mount.call_by(1, opcode, 1, &text(name)).is_err(), "{opcode} {name:?}");
        }
        let made = [u32s(&[0o644, 0, 0, 0]), text(name)].concat();
        assert!(mount.call_by(1, 8, 1, &made).is_err(), "made {name:?}");
        let opened = [u32s(&[2, 0o644, 0, 0]), text(name)].concat();
        assert!(mount.call_by(1, 35, 1, &opened).is_err(), "created {name:?}");
        let linked = [u64s(&[2]), text(name)].concat();
        assert!(mount.call_by(1, 13, 1, &linked).is_err(), "linked {name:?}");
        assert!(mount.rename("a", name).is_err(), "moved to {name:?}");
    }
    is_as_it_was(own.path());
}

#[test]
fn a_handle_does_what_it_was_opened_for() {
    let (own, tree) = place();
    let mount = Mount::new(tree, Arc::new(Anything));
    let written = mount.open("a", O_WRONLY).unwrap();
    assert_eq!(mount.read(written).unwrap_err(), EBADF);
    mount.write(written, 0, b"more", 0).unwrap();
    let read = mount.open("a", 0).unwrap();
    assert_eq!(mount.write(read, 0, b"more", 0).unwrap_err(), EBADF);
    is_as_it_was(own.path());
}

/// Numbers that look like none, the same each time (xorshift).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    /// Small more often than not: what there is has small numbers.
    fn value(&mut self) -> u64 {
        match self.below(4) {
            0 => self.next(),
            1 => u64::MAX - self.next() % 3,
            _ => self.next() % 12,
        }
    }
}

const NAMES: &[&[u8]] = &[
    b"a",
    b"dir",
    b"b",
    b"link",
    b"new",
    b"new2",
    b"..",
    b".",
    b"",
    b"../secret",
    b"/etc/passwd",
    b"dir/b",
    b"\xff\xfe",
    b"\xee\x80\xaf",
    b"x\nx",
];

fn frame(numbers: &mut Numbers, unique: u64) -> Vec<u8> {
    // INIT and DESTROY are the beginning and the end.
    let opcode = loop {
        let opcode = u32::try_from(numbers.below(54)).unwrap();
        if ![26, 38].contains(&opcode) {
            break opcode;
        }
    };
    let mut body = Vec::new();
    for _ in 0..numbers.below(6) {
        match numbers.below(3) {
            0 => body.extend(numbers.value().to_ne_bytes()),
            1 => body.extend((numbers.value() as u32).to_ne_bytes()),
            _ => {
                body.extend(NAMES[numbers.below(NAMES.len())]);
                body.push(0);
            }
        }
    }
    let node = if numbers.below(3) == 0 { numbers.value() } else { 1 + numbers.next() % 4 };
    let head = [u32s(&[0, opcode]), u64s(&[unique, node]), u32s(&[0, 0, numbers.value() as u32, 0])].concat();
    [head, body].concat()
}

/// `HOSTILE_FRAMES` of them; ten million by hand.
#[test]
fn frames_of_no_kernel_change_nothing_of_the_users_and_stop_nobody() {
    let count =
        std::env::var("HOSTILE_FRAMES").ok().and_then(|count| count.parse().ok()).unwrap_or(50_000u64);
    let (own, tree) = place();
    let (device, guest) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    let options = Options { uid: 1000, gid: 1000, write_back: false };
    let server = serve(device, tree, Arc::new(Anything), options).unwrap();
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let mut answer = vec![0u8; 1 << 18];
    for unique in 1..=count {
        let frame = frame(&mut numbers, unique);
        // A server that waits until its answers are taken takes no requests.
        while let Err(e) = send(&guest, &frame, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
            assert_eq!(e, rustix::io::Errno::AGAIN);
            take_answers(&guest, &mut answer);
        }
        take_answers(&guest, &mut answer);
        assert!(!server.has_ended(), "frame {unique}");
    }
    let unique = count + 1;
    let asked = [u32s(&[0, GETATTR]), u64s(&[unique, 1]), u32s(&[0; 4]), u64s(&[0, 0])].concat();
    send(&guest, &asked, SendFlags::NOSIGNAL).unwrap();
    loop {
        let length = recv(&guest, &mut answer[..], RecvFlags::empty()).unwrap().0;
        assert!(length >= 16);
        if answer[8..16] == unique.to_ne_bytes() {
            assert_eq!(answer[4..8], [0; 4], "an error");
            break;
        }
    }
    is_as_it_was(own.path());
}

/// Answers come when they come: some requests have none, and some wait for others.
fn take_answers(guest: &OwnedFd, answer: &mut [u8]) {
    let now = Timespec::default();
    while poll(&mut [PollFd::new(guest, PollFlags::IN)], Some(&now)).unwrap() > 0 {
        assert!(recv(guest, &mut *answer, RecvFlags::empty()).unwrap().0 > 0, "the server has hung up");
    }
}
