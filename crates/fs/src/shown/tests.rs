//! Driven by frames, as a guest's kernel would and as it never would.

use std::collections::BTreeSet;
use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::thread::JoinHandle;

use rustix::fs::inotify;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::*;
use crate::nodes::ROOT;

/// The other end of the socket, and the thread that serves it.
struct Guest {
    socket: OwnedFd,
    unique: u64,
    server: JoinHandle<std::io::Result<()>>,
}

impl Guest {
    fn of(root: &Path) -> Self {
        let (socket, device) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        let root = root.to_owned();
        Self {
            socket,
            unique: 0,
            server: std::thread::spawn(move || show(device, &root, &[root.join("changing")])),
        }
    }

    fn send(&mut self, opcode: u32, node: u64, body: &[u8]) {
        self.unique += 1;
        let length = u32::try_from(40 + body.len()).unwrap();
        let mut frame = [length.to_ne_bytes(), opcode.to_ne_bytes()].concat();
        frame.extend([self.unique.to_ne_bytes(), node.to_ne_bytes(), [0; 8], [0; 8]].concat());
        frame.extend(body);
        assert_eq!(rustix::net::send(&self.socket, &frame, SendFlags::NOSIGNAL), Ok(frame.len()));
    }

    fn receive(&mut self) -> Result<Vec<u8>, Errno> {
        let mut buffer = vec![0; 1 << 20];
        let length = rustix::io::read(&self.socket, &mut buffer[..]).unwrap();
        assert!(length <= MAX_DATA as usize + 16);
        let mut answer = Reader(&buffer[..length]);
        assert_eq!(answer.u32().unwrap() as usize, length);
        let error = answer.u32().unwrap().cast_signed();
        assert_eq!(answer.u64().unwrap(), self.unique, "each is answered once, in turn");
        if error == 0 { Ok(answer.0.to_vec()) } else { Err(Errno::from_raw_os_error(-error)) }
    }

    fn ask(&mut self, opcode: u32, node: u64, body: &[u8]) -> Result<Vec<u8>, Errno> {
        self.send(opcode, node, body);
        self.receive()
    }

    fn init(&mut self, offered: u32) -> u32 {
        let answer = self.ask(op::INIT, 0, &words(&[7, 40, 1 << 20, offered])).unwrap();
        assert_eq!(answer.len(), 64);
        let mut answer = Reader(&answer);
        assert_eq!((answer.u32().unwrap(), answer.u32().unwrap()), (7, 31));
        answer.u32().unwrap();
        answer.u32().unwrap()
    }

    /// The node of a name and its attributes, from the inode number on.
    fn lookup(&mut self, parent: u64, name: &str) -> Result<(u64, Vec<u8>), Errno> {
        let entry = self.ask(op::LOOKUP, parent, format!("{name}\0").as_bytes())?;
        assert_eq!(entry.len(), 128);
        assert!([0, 86400].contains(&u64_at(&entry, 16)));
        Ok((u64_at(&entry, 0), entry[40..].to_vec()))
    }

    fn open(&mut self, node: u64) -> Result<u64, Errno> {
        self.ask(op::OPEN, node, &words(&[0, 0])).map(|answer| u64_at(&answer, 0))
    }

    fn read(&mut self, fh: u64, offset: u64, size: u32) -> Result<Vec<u8>, Errno> {
        self.ask(op::READ, 0, &read_body(fh, offset, size))
    }

    fn release(&mut self, fh: u64) -> Result<Vec<u8>, Errno> {
        self.ask(op::RELEASE, 0, &[&fh.to_ne_bytes()[..], &[0; 16]].concat())
    }

    /// All names of a directory, with the node that each came with or its number.
    fn list(&mut self, node: u64, plus: bool, size: u32) -> Result<Vec<(String, u64)>, Errno> {
        let (opcode, before) = if plus { (op::READDIRPLUS, 128) } else { (op::READDIR, 0) };
        let (mut names, mut offset) = (Vec::new(), 0);
        loop {
            let answer = self.ask(opcode, node, &read_body(0, offset, size))?;
            assert!(answer.len() <= size as usize);
            let mut rest = Reader(&answer);
            if rest.0.is_empty() {
                return Ok(names);
            }
            while !rest.0.is_empty() {
                let entry = rest.bytes(before).unwrap();
                let ino = rest.u64().unwrap();
                offset = rest.u64().unwrap();
                let (length, kind) = (rest.u32().unwrap() as usize, rest.u32().unwrap());
                let name = String::from_utf8(rest.bytes(length).unwrap().to_vec()).unwrap();
                rest.bytes((24 + length).next_multiple_of(8) - 24 - length).unwrap();
                assert!(matches!(kind, 4 | 8 | 10));
                names.push((name, if plus { u64_at(entry, 0) } else { ino }));
            }
        }
    }

    /// Hang up; what the server made of it.
    fn end(self) -> std::io::Result<()> {
        drop(self.socket);
        self.server.join().unwrap()
    }
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn read_body(fh: u64, offset: u64, size: u32) -> Vec<u8> {
    [&fh.to_ne_bytes()[..], &offset.to_ne_bytes(), &size.to_ne_bytes(), &[0; 20]].concat()
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    Reader(&bytes[at..]).u64().unwrap()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    Reader(&bytes[at..]).u32().unwrap()
}

/// A directory with a secret beside it.
fn place() -> (tempfile::TempDir, std::path::PathBuf) {
    let own = tempfile::tempdir().unwrap();
    let root = own.path().join("root");
    fs::create_dir_all(root.join("d/e")).unwrap();
    fs::write(own.path().join("secret"), "secret").unwrap();
    fs::write(root.join("f"), "content").unwrap();
    fs::write(root.join("d/e/g"), vec![7; 300_000]).unwrap();
    fs::hard_link(root.join("f"), root.join("d/f")).unwrap();
    symlink("../secret", root.join("out")).unwrap();
    symlink("..", root.join("up")).unwrap();
    (own, root)
}

#[test]
fn a_tree_is_shown_as_it_is() {
    let (_own, root) = place();
    fs::set_permissions(root.join("f"), fs::Permissions::from_mode(0o4755)).unwrap();
    let mut guest = Guest::of(&root);
    let agreed = guest.init(u32::MAX);
    assert_eq!(agreed & flag::WRITEBACK_CACHE, 0);
    assert_ne!(agreed & flag::CACHE_SYMLINKS, 0);
    assert_eq!(guest.ask(op::OPENDIR, ROOT, &words(&[0, 0])), Err(Errno::NOSYS));

    let (f, attributes) = guest.lookup(ROOT, "f").unwrap();
    let real = fs::metadata(root.join("f")).unwrap();
    assert_eq!((u64_at(&attributes, 0), u64_at(&attributes, 8)), (f, 7));
    assert_eq!(u64_at(&attributes, 32), real.mtime().cast_unsigned());
    assert_eq!((u32_at(&attributes, 60), u32_at(&attributes, 64)), (0o100_755, 2), "without setuid");
    assert_eq!((u32_at(&attributes, 68), u32_at(&attributes, 72)), (real.uid(), real.gid()));
    assert_eq!(guest.ask(op::GETATTR, f, &[0; 16]).unwrap()[16..], attributes[..]);
    assert_eq!(guest.lookup(ROOT, "none").unwrap().0, 0);
    assert_eq!(guest.lookup(f, "x").unwrap_err(), Errno::NOTDIR);

    let (d, _) = guest.lookup(ROOT, "d").unwrap();
    assert_eq!(guest.lookup(d, "f").unwrap().0, f, "two names of one file");
    let (e, _) = guest.lookup(d, "e").unwrap();
    let (g, _) = guest.lookup(e, "g").unwrap();
    let fh = guest.open(g).unwrap();
    assert_eq!(guest.read(fh, 0, u32::MAX).unwrap(), vec![7; MAX_DATA as usize]);
    assert_eq!(guest.read(fh, 299_999, 4096).unwrap(), [7]);
    assert_eq!(guest.read(fh, 300_000, 4096), Ok(Vec::new()));
    assert_eq!(guest.read(fh, u64::MAX, 4096), Err(Errno::INVAL));
    guest.release(fh).unwrap();
    assert_eq!(guest.read(fh, 0, 1), Err(Errno::BADF));
    assert_eq!(guest.ask(op::STATFS, g, &[]).unwrap().len(), 80);

    let names = BTreeSet::from([".", "..", "d", "f", "out", "up"].map(str::to_owned));
    for plus in [false, true] {
        let listed = guest.list(ROOT, plus, 4096).unwrap();
        assert_eq!(listed.iter().map(|(name, _)| name.clone()).collect::<BTreeSet<_>>(), names);
        assert!(listed.contains(&("d".into(), d)) && listed.len() == names.len());
    }
    assert_eq!(guest.list(ROOT, true, 64), Err(Errno::INVAL), "too little room is not the end");
    assert_eq!(guest.list(f, true, 4096), Err(Errno::NOTDIR));
    guest.ask(op::DESTROY, 0, &[]).unwrap();
    guest.server.join().unwrap().unwrap();
}

#[test]
fn what_may_change_is_asked_for_each_time() {
    let (_own, root) = place();
    fs::create_dir(root.join("changing")).unwrap();
    fs::write(root.join("changing/a"), "1").unwrap();
    let mut guest = Guest::of(&root);
    guest.init(u32::MAX);
    let (changing, _) = guest.lookup(ROOT, "changing").unwrap();
    for (parent, name, trust) in
        [(changing, "a\0", 0), (changing, "none\0", 0), (ROOT, "f\0", 86400), (ROOT, "none\0", 86400)]
    {
        let entry = guest.ask(op::LOOKUP, parent, name.as_bytes()).unwrap();
        assert_eq!(u64_at(&entry, 16), trust, "{name:?}");
    }
    for (parent, name, kept) in [(changing, "a", 0), (ROOT, "f", protocol::open::KEEP_CACHE)] {
        let (node, _) = guest.lookup(parent, name).unwrap();
        let open = guest.ask(op::OPEN, node, &words(&[0, 0])).unwrap();
        assert_eq!(u32_at(&open, 8), kept, "{name}");
    }
    guest.end().unwrap();
}

#[test]
fn an_older_guest_opens_directories() {
    let (_own, root) = place();
    let mut guest = Guest::of(&root);
    assert_eq!(guest.init(flag::ASYNC_READ | flag::BIG_WRITES), flag::ASYNC_READ);
    let open = guest.ask(op::OPENDIR, ROOT, &words(&[0, 0])).unwrap();
    assert_eq!(u32_at(&open, 8), protocol::open::CACHE_DIR | protocol::open::KEEP_CACHE);
    guest.ask(op::RELEASEDIR, ROOT, &[0; 24]).unwrap();
    guest.end().unwrap();
}

#[test]
fn nothing_outside_is_reached() {
    let (_own, root) = place();
    let mut guest = Guest::of(&root);
    for name in ["", ".", "..", "/", "/etc", "../secret", "d/e", "d/../../secret"] {
        assert_eq!(guest.lookup(ROOT, name).unwrap_err(), Errno::INVAL, "{name}");
    }
    assert_eq!(guest.lookup(ROOT, &"n".repeat(256)).unwrap_err(), Errno::NAMETOOLONG);
    let (out, attributes) = guest.lookup(ROOT, "out").unwrap();
    assert_eq!(u32_at(&attributes, 60) & 0o170_000, 0o120_000);
    assert_eq!(u64_at(&attributes, 8), "../secret".len() as u64);
    assert_eq!(guest.ask(op::READLINK, out, &[]).unwrap(), b"../secret");
    assert_eq!(guest.open(out), Err(Errno::LOOP));
    let (up, _) = guest.lookup(ROOT, "up").unwrap();
    assert!(guest.lookup(up, "secret").is_err());
    assert!(guest.list(up, false, 4096).is_err());
    assert!(guest.list(up, true, 4096).is_err());
    // What became a link since it was looked up is not followed either.
    let (d, _) = guest.lookup(ROOT, "d").unwrap();
    let (f, _) = guest.lookup(ROOT, "f").unwrap();
    fs::rename(root.join("d"), root.join("was")).unwrap();
    symlink("..", root.join("d")).unwrap();
    fs::remove_file(root.join("f")).unwrap();
    symlink("../secret", root.join("f")).unwrap();
    assert!(guest.lookup(d, "secret").is_err());
    assert_eq!(guest.open(f), Err(Errno::LOOP));
    assert_eq!(guest.ask(op::READLINK, ROOT, &[]), Err(Errno::INVAL));
    assert_eq!(guest.open(ROOT), Err(Errno::ISDIR));
    assert_eq!(guest.open(99), Err(Errno::STALE));
    guest.end().unwrap();
}

#[test]
fn nothing_is_written() {
    let (_own, root) = place();
    let mut guest = Guest::of(&root);
    let (f, _) = guest.lookup(ROOT, "f").unwrap();
    for flags in [1, 2, 3, 0o1000, 0o2001] {
        assert_eq!(guest.ask(op::OPEN, f, &words(&[flags, 0])), Err(Errno::ROFS));
    }
    for opcode in [4, 6, 8, 9, 10, 11, 12, 13, 16, 21, 24, 35, 43, 45, 51] {
        assert_eq!(guest.ask(opcode, ROOT, &[b'x'; 200]), Err(Errno::ROFS), "{opcode}");
    }
    for opcode in [18 + 2, 22, 23, 25, 30, 34, 39, 40, 46, 50, 52, 4096, 0, u32::MAX] {
        assert_eq!(guest.ask(opcode, f, &[0; 200]), Err(Errno::NOSYS), "{opcode}");
    }
    guest.end().unwrap();
}

#[test]
fn who_watches_a_file_sees_the_guest_open_it_and_not_look() {
    let (_own, root) = place();
    let watch = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
    inotify::add_watch(&watch, root.join("d/e/g"), inotify::WatchFlags::OPEN).unwrap();
    let seen = || {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&watch, &mut buffer);
        std::iter::from_fn(|| events.next().ok().map(drop)).count()
    };
    let mut guest = Guest::of(&root);
    let (d, _) = guest.lookup(ROOT, "d").unwrap();
    let (e, _) = guest.lookup(d, "e").unwrap();
    let (g, _) = guest.lookup(e, "g").unwrap();
    guest.ask(op::GETATTR, g, &[0; 16]).unwrap();
    guest.list(e, true, 4096).unwrap();
    assert_eq!(seen(), 0);
    guest.open(g).unwrap();
    assert_eq!(seen(), 1);
    guest.end().unwrap();
}

#[test]
fn what_is_no_file_and_what_may_not_be_read_is_not_opened() {
    let (_own, root) = place();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, root.join("pipe"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
    fs::set_permissions(root.join("f"), fs::Permissions::from_mode(0o000)).unwrap();
    let mut guest = Guest::of(&root);
    let (pipe, _) = guest.lookup(ROOT, "pipe").unwrap();
    assert_eq!(guest.open(pipe), Err(Errno::ACCESS));
    let (f, _) = guest.lookup(ROOT, "f").unwrap();
    if fs::File::open(root.join("f")).is_err() {
        assert_eq!(guest.open(f), Err(Errno::ACCESS));
    }
    guest.end().unwrap();
}

#[test]
fn a_large_directory_is_listed_once_and_whole() {
    let (_own, root) = place();
    let expected: BTreeSet<String> = (0..10_000).map(|n| format!("name-{n:05}")).collect();
    for name in &expected {
        fs::write(root.join("d/e").join(name), "").unwrap();
    }
    let mut guest = Guest::of(&root);
    let (d, _) = guest.lookup(ROOT, "d").unwrap();
    let (e, _) = guest.lookup(d, "e").unwrap();
    for (plus, size) in [(true, 4096), (false, 4096), (true, u32::MAX), (false, MAX_DATA)] {
        let listed = guest.list(e, plus, size.min(MAX_DATA)).unwrap();
        assert_eq!(listed.len(), 10_000 + 3);
        let names: BTreeSet<String> = listed.into_iter().map(|(name, _)| name).collect();
        assert!(names.is_superset(&expected));
    }
    assert_eq!(guest.ask(op::READDIR, e, &read_body(0, u64::MAX, 4096)), Ok(Vec::new()));
    guest.end().unwrap();
}

#[test]
fn a_node_is_gone_when_it_was_forgotten_as_often_as_it_was_looked_up() {
    let (_own, root) = place();
    let mut guest = Guest::of(&root);
    let (d, _) = guest.lookup(ROOT, "d").unwrap();
    assert_eq!(guest.lookup(ROOT, "d").unwrap().0, d);
    let listed = guest.list(ROOT, true, 4096).unwrap();
    assert!(listed.contains(&("d".into(), d)), "that counts as one more");
    guest.send(op::FORGET, d, &2u64.to_ne_bytes());
    guest.ask(op::GETATTR, d, &[0; 16]).unwrap();
    let once = [d, 1, ROOT, u64::MAX].map(u64::to_ne_bytes).concat();
    guest.send(op::BATCH_FORGET, 0, &[words(&[2, 0]), once].concat());
    assert_eq!(guest.ask(op::GETATTR, d, &[0; 16]), Err(Errno::STALE));
    guest.ask(op::GETATTR, ROOT, &[0; 16]).unwrap();
    assert!(guest.lookup(ROOT, "d").unwrap().0 > d);
    guest.end().unwrap();
}

#[test]
fn no_more_files_are_open_than_may_be() {
    let (_own, root) = place();
    let mut shown = Shown::new(Beneath::open(&root).unwrap(), Vec::new());
    shown.most_files = 2;
    let stat = shown.tree.attributes(Path::new("f")).unwrap();
    let node = shown.nodes.looked_up(Path::new("f"), &stat).unwrap();
    let header = Header { opcode: op::OPEN, unique: 1, node, pid: 0 };
    let first = shown.open(header, Reader(&[0; 8])).unwrap();
    shown.open(header, Reader(&[0; 8])).unwrap();
    assert_eq!(shown.open(header, Reader(&[0; 8])).unwrap_err(), Errno::NFILE);
    shown.release(Reader(&[&first.body()[..8], &[0; 16]].concat())).unwrap();
    shown.open(header, Reader(&[0; 8])).unwrap();
}

#[test]
fn short_frames_are_answered_and_half_headers_end_it() {
    let (_own, root) = place();
    let mut guest = Guest::of(&root);
    for opcode in [1, 3, 14, 15, 18, 26, 27, 28, 29, 44] {
        assert_eq!(guest.ask(opcode, ROOT, &[1; 3]), Err(Errno::INVAL), "{opcode}");
    }
    guest.send(op::FORGET, ROOT, &[]);
    guest.send(op::BATCH_FORGET, ROOT, &words(&[u32::MAX, 0, 1]));
    guest.send(op::INTERRUPT, 0, &[]);
    guest.lookup(ROOT, "f").unwrap();
    rustix::net::send(&guest.socket, &[1; 39], SendFlags::NOSIGNAL).unwrap();
    assert!(guest.end().is_err());
}

#[test]
fn whatever_a_guest_sends_it_is_answered() {
    let (_own, root) = place();
    let mut guest = Guest::of(&root);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut answered = 0;
    for _ in 0..20_000 {
        let opcode = u32::try_from(random() % 60).unwrap();
        let node = if random() % 8 == 0 { random() } else { random() % 8 };
        let length = usize::try_from(random() % 120).unwrap();
        // Numbers are small, huge or names, so that some mean something.
        let mut body = Vec::new();
        while body.len() < length {
            match random() % 4 {
                0 => body.extend(random().to_ne_bytes()),
                1 => body.extend((random() % 4).to_ne_bytes()),
                2 => body.extend(u64::MAX.to_ne_bytes()),
                _ => body
                    .extend([&b"f\0"[..], b"d\0", b"..\0", b"up/\0"][usize::try_from(random() % 4).unwrap()]),
            }
        }
        body.truncate(length);
        if opcode == op::DESTROY {
            continue;
        }
        guest.send(opcode, node, &body);
        if !matches!(opcode, op::FORGET | op::BATCH_FORGET | op::INTERRUPT) {
            answered += usize::from(guest.receive().is_ok());
        }
    }
    assert!(answered > 500, "{answered} were not refused");
    assert_ne!(guest.lookup(ROOT, "f").unwrap().0, 0);
    assert_eq!(fs::read(root.join("f")).unwrap(), b"content");
    guest.end().unwrap();
}
