//! Frames of FUSE between a stream, which is a port of the guest's, and what keeps them apart: the broker's socket on one side, the
//! guest's `/dev/fuse` on the other. A frame begins with its length (`fuse_in_header`, `fuse_out_header`).

use std::io::{self, Read};
use std::os::fd::AsFd;

/// Bytes of a frame: of what servers of sockets agree to, 128 KiB and a header, and some room.
const LONGEST: usize = (128 << 10) + 8192;
/// `fuse_out_header`.
const SHORTEST: usize = 16;
/// Of an answer: the number of its request.
const UNIQUE: std::ops::Range<usize> = 8..16;
/// Of a request: where its process's number stands, in a world of which nobody outside knows anything.
const PROCESS: std::ops::Range<usize> = 32..36;

/// From a stream to what takes one frame a write, until either ends. `to` gets each frame.
///
/// # Errors
/// What is no frame; the system's error of the stream, or `to`'s.
pub(super) fn from_stream(
    mut stream: impl Read,
    mut to: impl FnMut(&mut [u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut frame = vec![0u8; LONGEST];
    loop {
        let Some(head) = frame.get_mut(..4) else { return Err(no_frame()) };
        match stream.read_exact(head) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(e) => return Err(e),
        }
        let length = head.try_into().map(u32::from_ne_bytes).map_err(|_| no_frame())?;
        let length = usize::try_from(length).map_err(|_| no_frame())?;
        if length < SHORTEST {
            return Err(no_frame());
        }
        stream.read_exact(frame.get_mut(4..length).ok_or_else(no_frame)?)?;
        to(frame.get_mut(..length).ok_or_else(no_frame)?)?;
    }
}

/// From what gives one frame a read, until it ends. `to` gets each.
///
/// # Errors
/// The system's error, or `to`'s.
pub(super) fn from_packets(from: impl AsFd, mut to: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut frame = vec![0u8; LONGEST];
    loop {
        match rustix::io::read(&from, &mut frame[..]) {
            Ok(0) | Err(rustix::io::Errno::NODEV) => return Ok(()),
            Ok(length) => to(frame.get(..length).unwrap_or_default())?,
            // ENOENT: a request that was interrupted before it was read (fuse_dev_do_read).
            Err(rustix::io::Errno::INTR | rustix::io::Errno::NOENT | rustix::io::Errno::AGAIN) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

/// Whether an answer is none, but a notice to the kernel: it answers no request.
pub(super) fn is_notice(answer: &[u8]) -> bool {
    answer.get(UNIQUE).is_some_and(|number| number.iter().all(|byte| *byte == 0))
}

/// A guest's processes are nobody's outside, whatever number they have.
pub(super) fn forget_the_process(request: &mut [u8]) {
    if let Some(number) = request.get_mut(PROCESS) {
        number.fill(0);
    }
}

fn no_frame() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the guest sends what is no FUSE frame")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(length: u32, rest: &[u8]) -> Vec<u8> {
        [&length.to_ne_bytes()[..], rest].concat()
    }

    #[test]
    fn frames_are_cut_where_they_end() {
        let (first, second) = (frame(16, &[1; 12]), frame(40, &[2; 36]));
        let stream = [first.clone(), second.clone()].concat();
        let mut got = Vec::new();
        let taken = from_stream(stream.as_slice(), |frame| {
            forget_the_process(frame);
            got.push(frame.to_vec());
            Ok(())
        });
        taken.unwrap();
        let mut without = second;
        without[PROCESS].fill(0);
        assert_eq!(got, [first, without]);
    }

    #[test]
    fn what_lies_about_its_length_ends_the_stream() {
        for length in [0, 3, 15, 200_000, u32::MAX] {
            let stream = frame(length, &[0; 300_000]);
            assert!(from_stream(stream.as_slice(), |_| panic!("{length}")).is_err(), "{length}");
        }
        assert!(from_stream(frame(20, &[0; 3]).as_slice(), |_| panic!()).is_err());
        from_stream(&[][..], |_| panic!()).unwrap();
    }
}
