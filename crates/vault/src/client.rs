//! The broker's side: starts the vault process and asks it.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use chaperone_capability::{SignError, Signer};
use parking_lot::Mutex;
use zeroize::Zeroizing;

use crate::approval::{ApprovalRecord, SignedApproval};
use crate::error::VaultError;
use crate::wire::{Hello, Hex, LastSigned, Request, Response, decode, read_frame, write_frame};

/// Seconds for the vault to open its directory; a predecessor may hold it for three.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// For a fast operation: a vault that takes longer is as good as dead, and the broker denies.
const FAST_TIMEOUT: Duration = Duration::from_secs(5);
/// For a disk's sync or a PIN, on a machine under load.
const SLOW_TIMEOUT: Duration = Duration::from_secs(30);
/// For the process to end by itself when its broker lets go of it.
const END_TIMEOUT: Duration = Duration::from_millis(500);

/// A running vault process. Every method may be called from any thread; when the process dies, each returns an error
/// and the caller denies. Dropping the client ends the process.
pub struct VaultClient {
    fast: Channel,
    slow: Channel,
    hello: Hello,
    issuer: String,
    child: Mutex<Child>,
    pid: u32,
}

impl VaultClient {
    /// Starts `exe args… dir` with an empty environment, its two channels as descriptors 0 and 1 (standard error is
    /// inherited), and greets it.
    pub fn spawn<S: AsRef<OsStr>>(exe: &Path, args: &[S], dir: &Path) -> Result<Self, VaultError> {
        let pair = || UnixStream::pair().map_err(|error| VaultError::Dead(error.to_string()));
        let ((fast, fast_theirs), (slow, slow_theirs)) = (pair()?, pair()?);
        let child = Command::new(exe)
            .args(args)
            .arg(dir)
            .env_clear()
            .current_dir("/")
            .stdin(OwnedFd::from(fast_theirs))
            .stdout(OwnedFd::from(slow_theirs))
            .spawn()
            .map_err(|source| VaultError::Io { what: "start", path: exe.to_owned(), source })?;
        let pid = child.id();
        let mut client = Self {
            fast: Channel::new(fast),
            slow: Channel::new(slow),
            hello: Hello::default(),
            issuer: String::new(),
            child: Mutex::new(child),
            pid,
        };
        for channel in [&client.slow, &client.fast] {
            match channel.ask(&Request::Hello {}, START_TIMEOUT)? {
                Response::Hello(hello) => client.hello = hello,
                _ => return Err(unexpected()),
            }
        }
        client.issuer = format!("chaperone:{}", client.hello.install_id);
        Ok(client)
    }

    /// Who the vault is, as it said at the start.
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether the process runs and no call to it has failed.
    pub fn is_alive(&self) -> bool {
        !self.fast.is_broken() && !self.slow.is_broken() && matches!(self.child.lock().try_wait(), Ok(None))
    }

    /// Signs claims (JSON text) with the issuer's key; returns the compact JWS. See [`CapabilitySigner`] for `mint`.
    pub fn sign_capability(&self, claims: &str) -> Result<String, VaultError> {
        match self.fast.ask(&Request::SignCapability { claims: claims.to_owned() }, FAST_TIMEOUT)? {
            Response::Token { token } => Ok(token),
            _ => Err(unexpected()),
        }
    }

    /// Signs the tree of `size` entries as a C2SP checkpoint (a signed note). `proof` is the RFC 6962 consistency proof
    /// from the last signed tree, empty for the first tree and for the same one again.
    pub fn sign_checkpoint(
        &self,
        size: u64,
        root: [u8; 32],
        proof: &[[u8; 32]],
    ) -> Result<String, VaultError> {
        let proof = proof.iter().map(|hash| Hex(*hash)).collect();
        match self.slow.ask(&Request::SignCheckpoint { size, root: Hex(root), proof }, SLOW_TIMEOUT)? {
            Response::Checkpoint { note } => Ok(note),
            _ => Err(unexpected()),
        }
    }

    pub fn last_signed(&self) -> Result<Option<LastSigned>, VaultError> {
        match self.slow.ask(&Request::LastSigned {}, SLOW_TIMEOUT)? {
            Response::LastSigned { last } => Ok(last),
            _ => Err(unexpected()),
        }
    }

    /// The log whose last signed tree this is goes on no more; the next tree that is signed is the first of a new one.
    pub fn close_log(&self, last: Option<LastSigned>) -> Result<(), VaultError> {
        self.done(&Request::CloseLog { last })
    }

    /// Signs the user's answer; `pin_proof` comes from [`Self::pin_verify`] for the same action.
    pub fn sign_approval(
        &self,
        record: &ApprovalRecord,
        pin_proof: Option<[u8; 16]>,
    ) -> Result<SignedApproval, VaultError> {
        let request = Request::SignApproval { record: record.clone(), pin_proof: pin_proof.map(Hex) };
        match self.slow.ask(&request, SLOW_TIMEOUT)? {
            Response::Approval(signed) => Ok(signed),
            _ => Err(unexpected()),
        }
    }

    /// Keyed fingerprints of SHA-256 digests, in order; at most [`crate::MAX_FINGERPRINTS`] a call.
    pub fn fingerprint(&self, hashes: &[[u8; 32]]) -> Result<Vec<[u8; 32]>, VaultError> {
        let hashes = hashes.iter().map(|hash| Hex(*hash)).collect::<Vec<_>>();
        let asked = hashes.len();
        match self.fast.ask(&Request::Fingerprint { hashes }, FAST_TIMEOUT)? {
            Response::Fingerprints { fingerprints } if fingerprints.len() == asked => {
                Ok(fingerprints.into_iter().map(|one| one.0).collect())
            }
            _ => Err(unexpected()),
        }
    }

    /// A payload key: a new one, or the one of this id.
    pub fn data_key(&self, id: Option<&str>) -> Result<(String, Zeroizing<[u8; 32]>), VaultError> {
        match self.slow.ask(&Request::DataKey { id: id.map(str::to_owned) }, SLOW_TIMEOUT)? {
            Response::DataKey { id, key } => Ok((id, Zeroizing::new(key.0))),
            _ => Err(unexpected()),
        }
    }

    /// Removes a payload key, and with it what it encrypted.
    pub fn erase_data_key(&self, id: &str) -> Result<(), VaultError> {
        self.done(&Request::EraseDataKey { id: id.to_owned() })
    }

    /// Sets the PIN; once there is one, the old one is needed.
    pub fn pin_set(&self, old: Option<&str>, new: &str) -> Result<(), VaultError> {
        self.done(&Request::PinSet { old: old.map(str::to_owned), new: new.to_owned() })
    }

    /// Whether a PIN is set now.
    pub fn pin_is_set(&self) -> Result<bool, VaultError> {
        match self.slow.ask(&Request::Hello {}, SLOW_TIMEOUT)? {
            Response::Hello(hello) => Ok(hello.pin_is_set),
            _ => Err(unexpected()),
        }
    }

    /// Checks the PIN for one action; the proof serves one approval of it within a minute. Takes about 0.3 s.
    pub fn pin_verify(&self, pin: &str, action_digest: [u8; 32]) -> Result<[u8; 16], VaultError> {
        let request = Request::PinVerify { pin: pin.to_owned(), action_digest: Hex(action_digest) };
        match self.slow.ask(&request, SLOW_TIMEOUT)? {
            Response::PinProof { proof } => Ok(proof.0),
            _ => Err(unexpected()),
        }
    }

    fn done(&self, request: &Request) -> Result<(), VaultError> {
        match self.slow.ask(request, SLOW_TIMEOUT)? {
            Response::Done {} => Ok(()),
            _ => Err(unexpected()),
        }
    }
}

impl Drop for VaultClient {
    fn drop(&mut self) {
        self.fast.close();
        self.slow.close();
        let child = self.child.get_mut();
        let deadline = Instant::now() + END_TIMEOUT;
        while Instant::now() < deadline {
            if !matches!(child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        // It has only what is on disk to lose, and that is replaced whole or not at all.
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// The vault as the signer of [`chaperone_capability::mint`] and `attenuate`.
pub struct CapabilitySigner<'a>(pub &'a VaultClient);

impl Signer for CapabilitySigner<'_> {
    fn issuer(&self) -> &str {
        &self.0.issuer
    }

    fn sign_claims(&self, claims: &[u8]) -> Result<String, SignError> {
        let text =
            std::str::from_utf8(claims).map_err(|_| SignError("the claims are not UTF-8".to_owned()))?;
        self.0.sign_capability(text).map_err(|error| SignError(error.to_string()))
    }
}

/// One connection: a request, its answer. After any failure of the transport it stays broken, because an answer that
/// comes late would be taken for that of the next request.
struct Channel(Mutex<Connection>);

struct Connection {
    stream: UnixStream,
    timeout: Option<Duration>,
    broken: Option<String>,
}

impl Channel {
    fn new(stream: UnixStream) -> Self {
        Self(Mutex::new(Connection { stream, timeout: None, broken: None }))
    }

    fn is_broken(&self) -> bool {
        self.0.lock().broken.is_some()
    }

    fn close(&self) {
        let mut connection = self.0.lock();
        connection.broken = Some("the broker let go of it".to_owned());
        // Already closed by the other side, at worst.
        let _ = connection.stream.shutdown(std::net::Shutdown::Both);
    }

    fn ask(&self, request: &Request, timeout: Duration) -> Result<Response, VaultError> {
        let mut connection = self.0.lock();
        if let Some(why) = &connection.broken {
            return Err(VaultError::Dead(why.clone()));
        }
        match connection.exchange(request, timeout) {
            Ok(Response::Error(error)) => Err(VaultError::Remote(error)),
            Ok(response) => Ok(response),
            Err(error) => {
                connection.broken = Some(error.to_string());
                Err(VaultError::Dead(error.to_string()))
            }
        }
    }
}

impl Connection {
    fn exchange(&mut self, request: &Request, timeout: Duration) -> Result<Response, std::io::Error> {
        if self.timeout != Some(timeout) {
            self.stream.set_read_timeout(Some(timeout))?;
            self.stream.set_write_timeout(Some(timeout))?;
            self.timeout = Some(timeout);
        }
        // A vault that failed at its start has told why before it read anything: read even if writing fails.
        let written = write_frame(&mut self.stream, request);
        match read_frame(&mut self.stream)? {
            Some(frame) => decode(&frame).map_err(std::io::Error::other),
            None => Err(written.err().unwrap_or_else(|| std::io::ErrorKind::UnexpectedEof.into())),
        }
    }
}

fn unexpected() -> VaultError {
    VaultError::Protocol("the answer belongs to another operation")
}
