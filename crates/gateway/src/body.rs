//! Bodies of requests, kept whole until they were inspected: nothing of one leaves before that.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use chaperone_pipeline::AccessRequest;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};
use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, oneshot};

use crate::held::{Reserved, TooMuch};

/// Bytes of a body in memory; longer ones are in an unnamed file in the session's own directory.
const IN_MEMORY: usize = 1 << 20;
/// How long a body may stand still.
pub(crate) const STALL_LIMIT: Duration = Duration::from_secs(60);
/// Bytes read from the file at a time.
const CHUNK: usize = 256 << 10;

/// A whole body.
#[derive(Debug)]
pub(crate) struct BufferedBody {
    memory: Vec<u8>,
    file: Option<File>,
    reserved: Option<Reserved>,
    rest: Option<Rest>,
    pub len: u64,
    pub sha256: [u8; 32],
}

/// What comes of a body after what was decided on, already inspected.
#[derive(Debug)]
pub(crate) struct Rest {
    pub pieces: mpsc::Receiver<io::Result<Bytes>>,
    /// Told what was decided on, once it was.
    pub begin: Option<oneshot::Sender<AccessRequest>>,
}

/// Why a body was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("{0}")]
    TooMuch(#[from] TooMuch),
    #[error("it stalled")]
    Stalled,
    #[error("it has trailers, which are not forwarded")]
    Trailers,
    #[error("it was cut off: {0}")]
    Broken(#[from] hyper::Error),
    #[error("it cannot be stored: {0}")]
    Unkept(#[from] io::Error),
}

impl BufferedBody {
    /// Take a body. `left` says what may still be sent to its host, and in all.
    ///
    /// # Errors
    /// See [`BodyError`].
    pub async fn take(
        mut body: hyper::body::Incoming,
        reserved: Reserved,
        left: impl Fn() -> (u64, u64),
        spill: &Path,
    ) -> Result<Self, BodyError> {
        match Self::take_until(&mut body, STALL_LIMIT, reserved, left, spill).await? {
            (held, true) => Ok(held),
            (_, false) => Err(BodyError::Stalled),
        }
    }

    /// Take what there is of a body until it stands still for so long; whether that is all.
    ///
    /// # Errors
    /// See [`BodyError`].
    pub async fn take_until(
        body: &mut hyper::body::Incoming,
        pause: Duration,
        mut reserved: Reserved,
        left: impl Fn() -> (u64, u64),
        spill: &Path,
    ) -> Result<(Self, bool), BodyError> {
        let mut held = Self::of(Vec::new());
        let mut hash = Sha256::new();
        let is_whole = loop {
            let frame = match tokio::time::timeout(pause, body.frame()).await {
                Err(_) => break false,
                Ok(None) => break true,
                Ok(Some(frame)) => frame?,
            };
            let Ok(data) = frame.into_data() else { return Err(BodyError::Trailers) };
            held.len += data.len() as u64;
            let (to_host, in_all) = left();
            if held.len > to_host {
                return Err(TooMuch::Budget.into());
            }
            reserved.body(data.len() as u64, in_all)?;
            hash.update(&data);
            let is_long = held.memory.len() + data.len() > IN_MEMORY || reserved.is_in_the_way();
            if held.file.is_none() && is_long {
                reserved.spill()?;
                let mut file = tempfile::tempfile_in(spill)?;
                file.write_all(&held.memory)?;
                held.memory = Vec::new();
                held.file = Some(file);
            }
            match &mut held.file {
                Some(file) => file.write_all(&data)?,
                None => held.memory.extend_from_slice(&data),
            }
        };
        held.sha256 = hash.finalize().into();
        held.reserved = Some(reserved);
        Ok((held, is_whole))
    }

    /// It goes on with this when it is sent.
    pub fn goes_on(&mut self, rest: Rest) {
        self.rest = Some(rest);
    }

    /// What is here was decided on: what follows may go, too.
    pub fn begin(&mut self, decided: &AccessRequest) {
        if let Some(begin) = self.rest.as_mut().and_then(|rest| rest.begin.take()) {
            // Whoever would send the rest is gone when the agent is.
            begin.send(decided.clone()).ok();
        }
    }

    /// Its length, if this is all of it.
    pub fn whole_len(&self) -> Option<u64> {
        self.rest.is_none().then_some(self.len)
    }

    /// What is there already, as far as the session may send and hold it in memory.
    ///
    /// # Errors
    /// See [`TooMuch`].
    pub fn hold(memory: Vec<u8>, mut reserved: Reserved, to_host: u64, in_all: u64) -> Result<Self, TooMuch> {
        if memory.len() as u64 > to_host {
            return Err(TooMuch::Budget);
        }
        reserved.body(memory.len() as u64, in_all)?;
        if reserved.is_in_the_way() {
            return Err(TooMuch::Held);
        }
        Ok(Self { reserved: Some(reserved), ..Self::of(memory) })
    }

    /// What is there already.
    pub fn of(memory: Vec<u8>) -> Self {
        let sha256 = Sha256::digest(&memory).into();
        Self { len: memory.len() as u64, memory, file: None, reserved: None, rest: None, sha256 }
    }

    /// It was counted in the session's budget.
    pub fn spent(&self) {
        if let Some(reserved) = &self.reserved {
            reserved.spent();
        }
    }

    /// The whole of it.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        let Some(file) = &self.file else { return Ok(self.memory.clone()) };
        let mut bytes = vec![0; usize::try_from(self.len).map_err(io::Error::other)?];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// Piece by piece.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn pieces(&self, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        let Some(file) = &self.file else {
            each(&self.memory);
            return Ok(());
        };
        let mut bytes = vec![0; CHUNK];
        let mut at = 0;
        loop {
            let got = file.read_at(&mut bytes, at)?;
            if got == 0 {
                return Ok(());
            }
            each(bytes.get(..got).unwrap_or_default());
            at += got as u64;
        }
    }

    /// As text to show to the user, when it is text.
    pub fn text(&self) -> Option<String> {
        const SHOWN: usize = 8 << 10;
        let part = self.memory.get(..self.memory.len().min(SHOWN)).filter(|p| !p.is_empty())?;
        let text = String::from_utf8_lossy(part);
        (!text.contains('\0')).then(|| text.into_owned())
    }

    /// To be sent.
    pub fn into_body(self) -> BufferedBodyStream {
        BufferedBodyStream {
            rest: Bytes::from(self.memory),
            file: self.file,
            _reserved: self.reserved,
            goes_on: self.rest,
            at: 0,
            len: self.len,
        }
    }
}

/// A body that was inspected, on its way.
#[derive(Debug)]
pub(crate) struct BufferedBodyStream {
    rest: Bytes,
    file: Option<File>,
    _reserved: Option<Reserved>,
    goes_on: Option<Rest>,
    at: u64,
    len: u64,
}

impl Body for BufferedBodyStream {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let left = self.len - self.at;
        if left == 0 {
            let Some(rest) = &mut self.goes_on else { return Poll::Ready(None) };
            return rest.pieces.poll_recv(cx).map(|piece| piece.map(|bytes| bytes.map(Frame::data)));
        }
        let data = match &self.file {
            None => std::mem::take(&mut self.rest),
            Some(file) => {
                // What was just written is in the page cache, so this does not wait for a disk.
                let mut bytes = vec![0; usize::try_from(left).unwrap_or(CHUNK).min(CHUNK)];
                if let Err(e) = file.read_exact_at(&mut bytes, self.at) {
                    return Poll::Ready(Some(Err(e)));
                }
                Bytes::from(bytes)
            }
        };
        self.at += data.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.at == self.len && self.goes_on.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.goes_on {
            Some(_) => SizeHint::default(),
            None => SizeHint::with_exact(self.len - self.at),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn binary_data_is_not_shown_as_text() {
        assert_eq!(BufferedBody::of(b"hello".to_vec()).text().as_deref(), Some("hello"));
        assert_eq!(BufferedBody::of(b"a\0b".to_vec()).text(), None);
        assert_eq!(BufferedBody::of(Vec::new()).text(), None);
    }

    #[test]
    fn what_a_tool_brings_is_held_within_the_sessions_share() {
        let held = Arc::default();
        let hold = |len: usize, left| BufferedBody::hold(vec![0; len], Reserved::nothing(&held), left, left);
        assert_eq!(hold(11, 10).err(), Some(TooMuch::Budget));
        let mut all = Vec::new();
        let refused = loop {
            match hold(16 << 20, u64::MAX) {
                Ok(body) => all.push(body),
                Err(refused) => break refused,
            }
        };
        assert_eq!((refused, all.len()), (TooMuch::Held, 8));
        assert_eq!(hold(10, 10).err(), Some(TooMuch::Budget), "what waits to be sent counts, too");
        all.clear();
        assert!(hold(10, 10).is_ok());
    }

    #[test]
    fn a_body_in_a_file_is_the_same_whole_in_parts_and_sent() {
        let bytes: Vec<u8> = (0..CHUNK + 7).map(|n| n as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        let body = BufferedBody {
            memory: Vec::new(),
            file: Some(file),
            reserved: None,
            rest: None,
            len: bytes.len() as u64,
            sha256: Sha256::digest(&bytes).into(),
        };
        assert!(body.read().unwrap() == bytes);
        let mut parts = Vec::new();
        body.pieces(|piece| parts.extend_from_slice(piece)).unwrap();
        assert!(parts == bytes);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert!(runtime.block_on(body.into_body().collect()).unwrap().to_bytes() == bytes);
    }
}
