//! The process that parses hostile documents: it holds nothing and answers one request at a time.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use chaperone_inspect::{
    Detectors, Limits, PlaceholderKey, document, effects, inspect_file, redact_file, restore_file, text_of,
};
use rustix::process::{Resource, Rlimit, setrlimit};

use crate::wire::{Answer, Request, receive, send};

/// Memory of a worker; protects the machine against a document that the limits of extraction let through.
const MEMORY: u64 = 512 << 20;

/// Answers requests on `socket` until the peer closes it. `confine` gives up everything that is not needed;
/// it runs after the detectors are loaded and before the first request is read.
///
/// # Errors
/// When confinement fails (nothing was read then) or the socket breaks.
pub fn serve(
    detectors: &Detectors,
    socket: OwnedFd,
    confine: impl FnOnce() -> io::Result<()>,
) -> io::Result<()> {
    let limit = |n: u64| Rlimit { current: Some(n), maximum: Some(n) };
    setrlimit(Resource::Data, limit(MEMORY))?;
    setrlimit(Resource::Core, limit(0))?;
    confine()?;
    let socket = UnixStream::from(socket);
    while let Some((request, files)) = receive::<Request>(&socket)? {
        let mut files = files.into_iter().map(File::from);
        let answer = match (request, files.next(), files.next(), files.next()) {
            (Request::Inspect { name, explains }, Some(file), None, None) => {
                let explaining = explains.then(|| detectors.explaining());
                let detectors = explaining.as_ref().unwrap_or(detectors);
                Answer::inspected(inspect_file(detectors, &file, &name, &Limits::default()))
            }
            (Request::Redact { name, key }, Some(file), Some(out), None) => {
                let key = key.map(PlaceholderKey::from_bytes);
                match redact_file(detectors, &file, &name, key, &out, &Limits::default()) {
                    Ok(done) => Answer::Redacted(done),
                    Err(e) => Answer::Refused(e.to_string()),
                }
            }
            (Request::Restore { name, new_name, key }, Some(edited), Some(out), original) => {
                let of = (original.as_ref(), PlaceholderKey::from_bytes(key));
                match restore_file(detectors, of, &edited, (&name, &new_name), &out, &Limits::default()) {
                    Ok(done) => Answer::Restored(done),
                    Err(e) => Answer::Refused(e.to_string()),
                }
            }
            (Request::Effects { name }, Some(mut file), None, None) => match effects(&name, &mut file) {
                Ok(found) => Answer::Effects(found),
                Err(e) => Answer::Refused(e.to_string()),
            },
            (Request::Text { name }, Some(file), Some(mut out), None) => {
                match out.write_all(&text_of(&file, &name, &Limits::default())) {
                    Ok(()) => Answer::Told,
                    Err(e) => Answer::Refused(e.to_string()),
                }
            }
            (Request::Lines { name }, Some(file), Some(mut out), None) => {
                let lines = document::lines(&file, &name, &Limits::default());
                match out.write_all(&serde_json::to_vec(&lines)?) {
                    Ok(()) => Answer::Told,
                    Err(e) => Answer::Refused(e.to_string()),
                }
            }
            _ => return Err(io::ErrorKind::InvalidData.into()),
        };
        send(&socket, &answer, &[])?;
    }
    Ok(())
}
