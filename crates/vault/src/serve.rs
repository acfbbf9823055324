//! The vault process: harden, load, confine, answer.

use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc;

use rustix::mm::MlockAllFlags;
use rustix::process::{DumpableBehavior, Resource, Rlimit};

use crate::error::VaultError;
use crate::operations::Vault;
use crate::wire::{Request, Response, decode, read_frame, write_frame};

/// Where the root key comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unlock {
    /// `root.key` in the vault's directory, made on first use.
    RootKeyFile,
}

/// Serves the channels (each in a thread: fast operations on one, those that wait for disk or a PIN on the other) until
/// the broker closes one. The keys are loaded only after the process can neither be dumped nor traced, and no request
/// is read before the thread is confined. An error at the start is told to the broker too.
pub fn serve(channels: Vec<OwnedFd>, dir: &Path, unlock: Unlock) -> Result<(), VaultError> {
    let channels: Vec<UnixStream> = channels.into_iter().map(UnixStream::from).collect();
    let opened = match unlock {
        Unlock::RootKeyFile => harden().and_then(|()| Vault::open(dir)),
    };
    let vault = match opened {
        Ok(vault) => vault,
        Err(error) => {
            refuse(channels, &error);
            return Err(error);
        }
    };
    // The keys' memory is never written to swap where the limit allows it; Argon2's 64 MiB must stay outside.
    if let Err(error) = rustix::mm::mlockall(MlockAllFlags::CURRENT) {
        eprintln!(
            "chaperone vault: memory is not locked ({error}); use encrypted swap or raise RLIMIT_MEMLOCK"
        );
    }
    let (ended, wait) = mpsc::channel();
    for channel in channels {
        let (vault, ended) = (Arc::clone(&vault), ended.clone());
        std::thread::Builder::new()
            .spawn(move || {
                let served = confine().and_then(|()| converse(&vault, &channel));
                if let Err(error @ VaultError::Unconfined { .. }) = &served {
                    refuse(vec![channel], error);
                }
                // The receiver is gone only when the process is ending.
                let _ = ended.send(served);
            })
            .map_err(|error| VaultError::Unconfined { what: "a thread", detail: error.to_string() })?;
    }
    drop(ended);
    // The filter is a thread's own: this one, which made the others, takes it last.
    confine()?;
    wait.recv().unwrap_or(Ok(()))
}

/// The main of `chaperone __vault DIR`: descriptors 0 and 1 are the two channels.
pub fn serve_inherited(dir: &Path) -> ExitCode {
    let inherited =
        [std::io::stdin().as_fd().try_clone_to_owned(), std::io::stdout().as_fd().try_clone_to_owned()];
    let channels: Result<Vec<_>, _> = inherited.into_iter().collect();
    let served = match channels {
        Ok(channels) => serve(channels, dir, Unlock::RootKeyFile),
        Err(error) => Err(VaultError::Dead(error.to_string())),
    };
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chaperone vault: {error}");
            ExitCode::FAILURE
        }
    }
}

/// No core files, no reading of this process by others of the same user, and nobody who already reads it.
fn harden() -> Result<(), VaultError> {
    let unconfined =
        |what| move |error: rustix::io::Errno| VaultError::Unconfined { what, detail: error.to_string() };
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(unconfined("dumpable"))?;
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    rustix::process::setrlimit(Resource::Core, none).map_err(unconfined("core files"))?;
    rustix::thread::set_no_new_privs(true).map_err(unconfined("new privileges"))?;
    // An undumpable process cannot be attached to any more; one that was attached before stays so.
    let status = std::fs::read_to_string("/proc/self/status")
        .map_err(|error| VaultError::Unconfined { what: "/proc/self/status", detail: error.to_string() })?;
    let untraced =
        status.lines().any(|line| line.strip_prefix("TracerPid:").is_some_and(|pid| pid.trim() == "0"));
    if untraced { Ok(()) } else { Err(VaultError::Traced) }
}

/// From here the thread has its files and its socket: a new socket, another program or tracing kill the process.
fn confine() -> Result<(), VaultError> {
    chaperone_sys::confine_vault()
        .map_err(|error| VaultError::Unconfined { what: "seccomp", detail: error.to_string() })
}

/// Answers until the broker closes the channel. A frame that is no operation gets an error; a frame that is too long or
/// cut off ends the process, as the stream has no next frame to find.
fn converse(vault: &Vault, channel: &UnixStream) -> Result<(), VaultError> {
    let gone = |error: std::io::Error| VaultError::Dead(error.to_string());
    let mut stream = channel;
    loop {
        let frame = match read_frame(&mut stream) {
            Ok(Some(frame)) => frame,
            Ok(None) => return Ok(()),
            // The broker died with an answer unread: an end like any other.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return Ok(()),
            Err(error) => return Err(gone(error)),
        };
        let answer = decode::<Request>(&frame).and_then(|request| vault.answer(request));
        let response = answer.unwrap_or_else(|error| Response::Error(error.to_remote()));
        write_frame(&mut stream, &response).map_err(gone)?;
    }
}

/// Answers the first request of each channel with why the vault does not serve.
fn refuse(channels: Vec<UnixStream>, error: &VaultError) {
    for channel in channels {
        // The broker that does not listen finds the process dead instead.
        let _ = write_frame(&mut &channel, &Response::Error(error.to_remote()));
        let _ = channel.shutdown(Shutdown::Write);
    }
}
