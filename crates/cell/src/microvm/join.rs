//! Two connections made one.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;

use rustix::net::{Shutdown, shutdown};

/// Copy both ways, until both are over.
///
/// # Errors
/// The system's error of either.
pub(super) fn join<C, S>(client: &C, server: &S) -> io::Result<()>
where
    C: AsFd + Sync,
    S: AsFd + Sync,
    for<'a> &'a C: Read + Write,
    for<'a> &'a S: Read + Write,
{
    std::thread::scope(|scope| {
        scope.spawn(|| {
            drop(io::copy(&mut { client }, &mut { server }));
            // One that is gone needs not be told.
            shutdown(server, Shutdown::Write).ok();
        });
        let copied = io::copy(&mut { server }, &mut { client });
        shutdown(client, Shutdown::Both).ok();
        shutdown(server, Shutdown::Both).ok();
        copied.map(drop)
    })
}

#[cfg(test)]
mod tests {
    use std::net::Shutdown;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn what_is_said_arrives_both_ways_and_the_end_as_well() {
        let (mut near, client) = UnixStream::pair().unwrap();
        let (server, mut far) = UnixStream::pair().unwrap();
        let joined = std::thread::spawn(move || join(&client, &server));
        near.write_all(b"asked").unwrap();
        near.shutdown(Shutdown::Write).unwrap();
        let mut text = String::new();
        far.read_to_string(&mut text).unwrap();
        assert_eq!(text, "asked");
        far.write_all(b"answered").unwrap();
        drop(far);
        text.clear();
        near.read_to_string(&mut text).unwrap();
        assert_eq!(text, "answered");
        joined.join().unwrap().unwrap();
    }
}
