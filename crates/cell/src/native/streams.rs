//! Standard input, output and error of a cell. What the user redirected to a file or a device is theirs, and a descriptor of it
//! would let the agent change its mode, its length, or what was written before. So none enters a cell: the launcher copies
//! through pipes. Pipes and sockets without a name are handed on as they are; terminals are the agent's process's matter.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FileType, SeekFrom};
use rustix::pipe::PipeFlags;

use crate::plan::SetupError;

/// Bytes copied at once: what a pipe holds.
const PIECE: usize = 64 << 10;
/// Major number of `/dev/null`, `zero`, `full` and the random devices.
const MEMORY_DEVICES: u32 = 1;

/// What stands in for the streams that may not enter.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    input: Option<Piped>,
    outputs: Vec<(Vec<Stream>, Piped)>,
}

#[derive(Debug)]
struct Piped {
    read: OwnedFd,
    write: OwnedFd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stream {
    Output,
    Error,
}

/// Copies that are going on.
#[derive(Debug, Default)]
pub(super) struct Copies {
    input: Option<Input>,
    outputs: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Input {
    /// The end that the agent reads, to know what it left.
    left: OwnedFd,
    /// Closed to stop the copying.
    stop: OwnedFd,
    copied: JoinHandle<u64>,
    /// Where the file stood at the start; none when it has no place to stand at.
    began: Option<u64>,
}

impl Streams {
    /// Look at the three streams of this process, and make pipes for those that may not enter.
    pub(super) fn prepare() -> Result<Self, SetupError> {
        let mut streams = Self::default();
        if is_kept_out(rustix::stdio::stdin()) {
            streams.input = Some(Piped::new()?);
        }
        let (out, err) = (rustix::stdio::stdout(), rustix::stdio::stderr());
        match (is_kept_out(out), is_kept_out(err)) {
            // Lines of both must stay in their order.
            (true, true) if is_same(out, err) => {
                streams.outputs.push((vec![Stream::Output, Stream::Error], Piped::new()?));
            }
            (keep_out, keep_err) => {
                if keep_out {
                    streams.outputs.push((vec![Stream::Output], Piped::new()?));
                }
                if keep_err {
                    streams.outputs.push((vec![Stream::Error], Piped::new()?));
                }
            }
        }
        Ok(streams)
    }

    /// In the cell: the pipes take the places of the streams.
    pub(super) fn enter(self) -> io::Result<()> {
        if let Some(input) = &self.input {
            rustix::stdio::dup2_stdin(&input.read)?;
        }
        for (streams, piped) in &self.outputs {
            for stream in streams {
                match stream {
                    Stream::Output => rustix::stdio::dup2_stdout(&piped.write)?,
                    Stream::Error => rustix::stdio::dup2_stderr(&piped.write)?,
                }
            }
        }
        Ok(())
    }

    /// In the launcher: start to copy.
    pub(super) fn copy(self) -> io::Result<Copies> {
        let mut copies = Copies::default();
        if let Some(Piped { read, write }) = self.input {
            rustix::fs::fcntl_setfl(&write, rustix::fs::OFlags::NONBLOCK)?;
            let (stopped, stop) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
            let began = rustix::fs::seek(rustix::stdio::stdin(), SeekFrom::Current(0)).ok();
            let copied = std::thread::Builder::new()
                .name("input".into())
                .spawn(move || copy_input(&write, &stopped))?;
            copies.input = Some(Input { left: read, stop, copied, began });
        }
        for (streams, piped) in self.outputs {
            let to = if streams.first() == Some(&Stream::Output) {
                rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?
            } else {
                rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stderr(), 3)?
            };
            let copy = move || copy_output(File::from(piped.read), File::from(to));
            // The cell alone holds the end that is written to.
            drop(piped.write);
            copies.outputs.push(std::thread::Builder::new().name("output".into()).spawn(copy)?);
        }
        Ok(copies)
    }
}

impl Copies {
    /// The cell is over: everything that it wrote arrives, and what it did not read is left for whoever reads next.
    pub(super) fn finish(self) {
        for copy in self.outputs {
            // A copy has no way to fail that is not an end of it.
            drop(copy.join());
        }
        let Some(Input { left, stop, copied, began }) = self.input else { return };
        let Some(began) = began else { return };
        drop(stop);
        let (Ok(copied), Ok(left)) = (copied.join(), rustix::io::ioctl_fionread(&left)) else { return };
        // Where this fails the stream has no place to go back to.
        rustix::fs::seek(rustix::stdio::stdin(), SeekFrom::Start(began + copied.saturating_sub(left))).ok();
    }
}

impl Piped {
    fn new() -> Result<Self, SetupError> {
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)
            .map_err(|e| SetupError::new(format!("make a pipe: {e}")))?;
        Ok(Self { read, write })
    }
}

/// Whether a stream has a name on the host, by which what is done to it is done to somebody's file or device.
fn is_kept_out(stream: BorrowedFd<'_>) -> bool {
    // A closed one is none.
    let Ok(stat) = rustix::fs::fstat(stream) else { return false };
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Fifo | FileType::Socket => !is_anonymous(stream),
        FileType::CharacterDevice => {
            let is_memory = rustix::fs::major(stat.st_rdev) == MEMORY_DEVICES && stat.st_uid == 0;
            !is_memory && !rustix::termios::isatty(stream)
        }
        _ => true,
    }
}

fn is_anonymous(stream: BorrowedFd<'_>) -> bool {
    use std::os::fd::AsRawFd;
    let name = std::fs::read_link(format!("/proc/self/fd/{}", stream.as_raw_fd()));
    name.is_ok_and(|n| ["pipe:[", "socket:["].iter().any(|a| n.to_string_lossy().starts_with(a)))
}

fn is_same(a: BorrowedFd<'_>, b: BorrowedFd<'_>) -> bool {
    let identity = |fd| rustix::fs::fstat(fd).ok().map(|s| (s.st_dev, s.st_ino));
    identity(a).is_some() && identity(a) == identity(b)
}

/// From standard input to the cell, until either ends or it is stopped; how many bytes went in.
fn copy_input(to: &OwnedFd, stopped: &OwnedFd) -> u64 {
    let mut bytes = vec![0; PIECE];
    let mut copied = 0;
    loop {
        // A file is always ready; a device is waited for, but not beyond the cell's end.
        if !is_ready(rustix::stdio::stdin(), PollFlags::IN, stopped) {
            return copied;
        }
        let mut rest = match rustix::io::read(rustix::stdio::stdin(), &mut *bytes) {
            Ok(0) | Err(_) => return copied,
            Ok(got) => bytes.get(..got).unwrap_or_default(),
        };
        while !rest.is_empty() {
            match rustix::io::write(to, rest) {
                Ok(put) => {
                    copied += put as u64;
                    rest = rest.get(put..).unwrap_or_default();
                }
                Err(rustix::io::Errno::AGAIN) if is_ready(to.as_fd(), PollFlags::OUT, stopped) => {}
                Err(_) => return copied,
            }
        }
    }
}

/// Waits until a descriptor is ready; false when copying was stopped before.
fn is_ready(what: BorrowedFd<'_>, flags: PollFlags, stopped: &OwnedFd) -> bool {
    loop {
        let mut both = [PollFd::from_borrowed_fd(what, flags), PollFd::new(stopped, PollFlags::empty())];
        match poll(&mut both, None) {
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
            Ok(_) => return both.get(1).is_some_and(|s| s.revents().is_empty()),
        }
    }
}

/// From the cell to the user's file. An error, like a full disk, reaches the agent as a closed pipe.
///
/// By plain writes: others write to the same open file, this program itself among them, and splice, which `io::copy` takes where it
/// can, moves the file's offset without its lock.
fn copy_output(mut from: File, mut to: File) {
    let mut bytes = vec![0; PIECE];
    let copied = loop {
        match from.read(&mut bytes) {
            Ok(0) => break Ok(()),
            Ok(got) => match to.write_all(bytes.get(..got).unwrap_or_default()) {
                Ok(()) => {}
                failed => break failed,
            },
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => break Err(e),
        }
    };
    // Whoever read it may stop in the middle; the agent is told by its own pipe.
    if let Err(e) = copied.as_ref()
        && e.kind() != io::ErrorKind::BrokenPipe
    {
        eprintln!("chaperone: the output cannot be written: {e}");
    }
}
