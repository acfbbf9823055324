//! The one writer: append, group commit, publish tiles, sign checkpoints.
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::keys::{Checkpoint, Keys};
use crate::layout::{self, Record, WIDTH};
use crate::model::{Entry, Leaf, Phase, Severity, Source, class_uid, rfc3339_millis};
use crate::tree::Tree;
use crate::{LogError, MAX_LEAF, MAX_PAYLOAD, payload};

/// What holds when an append returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// In the log file: killing any process loses nothing.
    Logged,
    /// On disk by fdatasync: losing power loses nothing.
    Synced,
}

#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// The caller's time, for the records that opening writes; milliseconds since 1970.
    pub now_ms: u64,
    /// A checkpoint at least every so many records.
    pub checkpoint_records: u64,
    /// And, when records came, after this long.
    pub checkpoint_every: Duration,
}

/// Full segments in memory before they are published. Protects memory; publishing each by itself would sync for each.
const FULL_SEGMENTS: usize = 16;

struct State {
    tree: Tree,
    segment: Arc<File>,
    segment_len: u64,
    records: Vec<Record>,
    /// Segments with bytes that may not be on disk, oldest first, the current one last.
    dirty: Vec<Arc<File>>,
    new_files: bool,
    full: Vec<(u64, Vec<Record>)>,
    synced: u64,
    checkpointed: u64,
    time_ms: u64,
    open_intents: BTreeSet<u64>,
    stopped: Option<String>,
    subscribers: Vec<Sender<Leaf>>,
    randomness: payload::Randomness,
}

struct Core {
    dir: PathBuf,
    keys: Arc<dyn Keys>,
    options: Options,
    data_key: (String, [u8; 32]),
    state: Mutex<State>,
    syncing: Mutex<bool>,
    sync_done: Condvar,
    /// One publisher at a time.
    publishing: Mutex<()>,
    wake: Condvar,
    quit: Mutex<bool>,
    _lock: File,
}

/// The writer's end of a log directory. Dropping it publishes and signs what it can.
pub struct Log {
    core: Arc<Core>,
    thread: Option<JoinHandle<()>>,
}

/// A sync under way; `wait` returns when the record is on disk.
#[must_use = "the record is on disk only after wait()"]
pub struct SyncTicket {
    core: Arc<Core>,
    pub seq: u64,
}

impl std::fmt::Debug for SyncTicket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SyncTicket").field("seq", &self.seq).finish_non_exhaustive()
    }
}

impl SyncTicket {
    pub fn wait(self) -> Result<u64, LogError> {
        self.core.sync_through(self.seq)?;
        Ok(self.seq)
    }
}

impl Log {
    /// Opens or creates the log in `dir`, repairing a torn tail above what was signed or synced.
    pub fn open(dir: &Path, keys: Arc<dyn Keys>, options: Options) -> Result<Self, LogError> {
        for folder in ["", "pending", "payload", "tile/entries", "tmp"] {
            let path = dir.join(folder);
            fs::create_dir_all(&path).map_err(|e| LogError::io(&path, e))?;
        }
        let lock_path = dir.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(|e| LogError::io(&lock_path, e))?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| LogError::Locked { path: lock_path })?;
        for item in fs::read_dir(dir.join("tmp")).map_err(|e| LogError::io(dir, e))?.flatten() {
            fs::remove_file(item.path()).map_err(|e| LogError::io(&item.path(), e))?;
        }
        let (state, cut, had) = recover(dir, keys.as_ref(), options)?;
        let lost: Vec<u64> = state.open_intents.iter().copied().collect();
        let core = Arc::new(Core {
            dir: dir.to_owned(),
            data_key: keys.data_key(None)?,
            keys,
            options,
            state: Mutex::new(state),
            syncing: Mutex::new(false),
            sync_done: Condvar::new(),
            publishing: Mutex::new(()),
            wake: Condvar::new(),
            quit: Mutex::new(false),
            _lock: lock,
        });
        if had || cut > 0 {
            core.record_opening(&lost, cut)?;
        }
        // The first one is signed at once: from then on a log without a checkpoint is one that somebody cut.
        if dir.join("checkpoint").exists() {
            core.publish()?;
        } else {
            core.checkpoint()?;
        }
        let worker = Arc::clone(&core);
        let thread = std::thread::Builder::new()
            .name("audit-publish".into())
            .spawn(move || worker.run())
            .map_err(|e| LogError::io(dir, e))?;
        Ok(Self { core, thread: Some(thread) })
    }

    /// Adds one record and returns its `seq`. An error means that nothing was acknowledged: deny.
    pub fn append(
        &self,
        entry: Entry,
        payload: Option<&serde_json::Value>,
        durability: Durability,
    ) -> Result<u64, LogError> {
        let json =
            payload.map(serde_json::to_vec).transpose().map_err(|e| LogError::Stopped(e.to_string()))?;
        self.append_json(entry, json.as_deref(), durability)
    }

    /// As [`Self::append`], with a payload that is JSON text already.
    pub fn append_json(
        &self,
        entry: Entry,
        payload: Option<&[u8]>,
        durability: Durability,
    ) -> Result<u64, LogError> {
        let seq = self.core.append(entry, payload)?;
        if durability == Durability::Synced {
            self.core.sync_through(seq)?;
        }
        Ok(seq)
    }

    /// As [`Self::append_json`] with `Logged`; the ticket's `wait` makes it `Synced`.
    pub fn append_async_sync(&self, entry: Entry, payload: Option<&[u8]>) -> Result<SyncTicket, LogError> {
        Ok(SyncTicket { core: Arc::clone(&self.core), seq: self.core.append(entry, payload)? })
    }

    /// Signs and publishes the tree as it is now.
    pub fn checkpoint(&self) -> Result<Checkpoint, LogError> {
        self.core.checkpoint()
    }

    /// Every record appended from now on, in order.
    pub fn subscribe(&self) -> Receiver<Leaf> {
        let (sender, receiver) = channel();
        self.core.state.lock().subscribers.push(sender);
        receiver
    }

    /// Records so far.
    pub fn size(&self) -> u64 {
        self.core.state.lock().tree.size
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        *self.core.quit.lock() = true;
        self.core.wake.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // the thread leaves its error in `stopped`
        }
    }
}

impl Core {
    fn append(&self, entry: Entry, json: Option<&[u8]>) -> Result<u64, LogError> {
        if let Some(json) = json.filter(|j| j.len() > MAX_PAYLOAD) {
            return Err(LogError::TooLarge { len: json.len(), limit: MAX_PAYLOAD });
        }
        let mut state = self.state.lock();
        if let Some(why) = &state.stopped {
            return Err(LogError::Stopped(why.clone()));
        }
        if entry.time_ms < state.time_ms {
            let step = Entry {
                time_ms: entry.time_ms,
                source: Source::Log,
                phase: Phase::Alert,
                severity: Severity::Medium,
                class_uid: class_uid::DETECTION,
                action: "clock_stepped_back".into(),
                resource: format!("{} ms", state.time_ms - entry.time_ms),
                ..Entry::default()
            };
            self.write(&mut state, step, None)?;
        }
        let seq = self.write(&mut state, entry, json)?;
        let due = state.tree.size - state.checkpointed >= self.options.checkpoint_records
            || state.full.len() >= FULL_SEGMENTS;
        drop(state);
        if due {
            self.wake.notify_one();
        }
        Ok(seq)
    }

    fn write(&self, state: &mut State, entry: Entry, json: Option<&[u8]>) -> Result<u64, LogError> {
        let seq = state.tree.size;
        if state.records.len() == WIDTH {
            let file = new_segment(&self.dir, seq / WIDTH as u64)?;
            let records = std::mem::take(&mut state.records);
            state.full.push((seq / WIDTH as u64 - 1, records));
            state.segment = Arc::clone(&file);
            state.dirty.push(file);
            state.new_files = true;
            state.segment_len = 0;
        }
        let sealed = match json {
            Some(json) => Some(payload::seal(&self.data_key.1, seq, json, &mut state.randomness)?),
            None => None,
        };
        let leaf = Leaf {
            v: 1,
            seq,
            time: rfc3339_millis(entry.time_ms),
            commitment: sealed.as_ref().map(|s| s.commitment.clone()),
            sealed: sealed.as_ref().map(|s| s.digest.clone()),
            key_id: sealed.as_ref().map(|_| self.data_key.0.clone()),
            entry,
        };
        let bytes = leaf.to_bytes().map_err(|e| LogError::Stopped(e.to_string()))?;
        if bytes.len() > MAX_LEAF {
            return Err(LogError::TooLarge { len: bytes.len(), limit: MAX_LEAF });
        }
        let record = Record { leaf: bytes, sealed: sealed.map(|s| s.bytes).unwrap_or_default() };
        let frame = layout::frame(&record, state.synced);
        if let Err(e) = (&*state.segment).write_all(&frame) {
            // No half record may stay; when it cannot be cut, nothing more is written.
            if let Err(cut) = state.segment.set_len(state.segment_len) {
                state.stopped = Some(cut.to_string());
            }
            return Err(LogError::io(&self.dir, e));
        }
        state.segment_len += frame.len() as u64;
        state.tree.push(&record.leaf);
        state.records.push(record);
        state.time_ms = leaf.entry.time_ms;
        track(&mut state.open_intents, &leaf);
        state.subscribers.retain(|s| s.send(leaf.clone()).is_ok());
        Ok(seq)
    }

    /// Says that the log was opened and closes the intents that a crash left open.
    fn record_opening(&self, lost: &[u64], cut: u64) -> Result<(), LogError> {
        let mut state = self.state.lock();
        let time_ms = self.options.now_ms;
        let base = Entry { time_ms, source: Source::Log, class_uid: class_uid::API, ..Entry::default() };
        for &intent in lost {
            let entry = Entry {
                intent: Some(intent),
                action: "recovered".into(),
                effect: "unknown".into(),
                severity: Severity::High,
                ..base.clone()
            };
            self.write(&mut state, entry, None)?;
        }
        let resource = format!("bytes of a torn record cut: {cut}, open intents closed: {}", lost.len());
        self.write(&mut state, Entry { action: "log_opened".into(), resource, ..base }, None)?;
        Ok(())
    }

    /// Group commit: one caller syncs for all that wait.
    fn sync_through(&self, seq: u64) -> Result<(), LogError> {
        let mut busy = self.syncing.lock();
        loop {
            {
                let state = self.state.lock();
                if state.synced > seq {
                    return Ok(());
                }
                if let Some(why) = &state.stopped {
                    return Err(LogError::Stopped(why.clone()));
                }
            }
            if *busy {
                self.sync_done.wait(&mut busy);
                continue;
            }
            *busy = true;
            drop(busy);
            let done = self.sync_now();
            busy = self.syncing.lock();
            *busy = false;
            self.sync_done.notify_all();
            done?;
        }
    }

    fn sync_now(&self) -> Result<(), LogError> {
        let (files, new_files, size) = {
            let mut state = self.state.lock();
            (state.dirty.clone(), std::mem::take(&mut state.new_files), state.tree.size)
        };
        let mut result = files.iter().try_for_each(|f| f.sync_data()).map_err(|e| LogError::io(&self.dir, e));
        if new_files {
            result = result.and_then(|()| layout::sync_dir(&self.dir.join("pending")));
        }
        let mut state = self.state.lock();
        match &result {
            Ok(()) => {
                state.synced = state.synced.max(size);
                // The last of `files` may have taken more records meanwhile; the others were full.
                let done = files.len().saturating_sub(1);
                state.dirty.drain(..done);
            }
            // After a failed fdatasync the kernel may have dropped the pages: never trust this file again.
            Err(e) => state.stopped = Some(e.to_string()),
        }
        result
    }

    /// Writes the full tiles out, then removes their segments.
    fn publish(&self) -> Result<(), LogError> {
        let _one = self.publishing.lock();
        let (full, fresh) = {
            let mut state = self.state.lock();
            (std::mem::take(&mut state.full), state.tree.fresh.clone())
        };
        let written = (|| {
            let mut files = Vec::new();
            for (n, records) in &full {
                let (entries, payloads) = layout::bundle(records);
                files.push((layout::payloads(*n), payloads));
                files.push((layout::entries(*n), entries));
            }
            let mut files: Vec<(String, &[u8])> = files.iter().map(|(n, b)| (n.clone(), &b[..])).collect();
            files.extend(fresh.iter().map(|((level, n), data)| (layout::hash_tile(*level, *n), &data[..])));
            layout::write_all_atomic(&self.dir, &files)?;
            for (n, _) in &full {
                let path = self.dir.join(layout::pending(*n));
                fs::remove_file(&path).map_err(|e| LogError::io(&path, e))?;
            }
            Ok(())
        })();
        let mut state = self.state.lock();
        if written.is_ok() {
            state.tree.fresh.retain(|k, _| !fresh.contains_key(k));
        } else {
            let later = std::mem::replace(&mut state.full, full);
            state.full.extend(later);
        }
        written
    }

    fn checkpoint(&self) -> Result<Checkpoint, LogError> {
        self.publish()?;
        let _one = self.publishing.lock();
        let size = self.state.lock().tree.size;
        if size > 0 {
            self.sync_through(size - 1)?;
        }
        let old = self.keys.last_signed()?.map_or(0, |(size, _)| size);
        let (root, consistency) = {
            let state = self.state.lock();
            (state.tree.root(size)?, state.tree.consistency(size, old)?)
        };
        let text = self.keys.sign_checkpoint(size, root, &consistency)?;
        let checkpoint = Checkpoint::open(text.as_bytes(), &self.keys.verifier())?;
        if (checkpoint.size, checkpoint.root) != (size, root) {
            return Err(LogError::Proof("the vault signed another tree".into()));
        }
        layout::write_atomic(&self.dir, "checkpoint", text.as_bytes())?;
        self.state.lock().checkpointed = size;
        Ok(checkpoint)
    }

    fn run(&self) {
        loop {
            let mut quit = self.quit.lock();
            if !*quit {
                self.wake.wait_for(&mut quit, self.options.checkpoint_every);
            }
            let last = *quit;
            drop(quit);
            // A failure here loses nothing: the records stay in their segments and it is tried again.
            let behind = {
                let s = self.state.lock();
                s.stopped.is_none() && s.tree.size > s.checkpointed
            };
            let _ = if behind { self.checkpoint().map(drop) } else { self.publish() };
            if last {
                return;
            }
        }
    }
}

fn track(open: &mut BTreeSet<u64>, leaf: &Leaf) {
    if leaf.entry.phase == Phase::Intent {
        open.insert(leaf.seq);
    } else if let Some(intent) = leaf.entry.intent {
        open.remove(&intent);
    }
}

fn new_segment(dir: &Path, n: u64) -> Result<Arc<File>, LogError> {
    let path = dir.join(layout::pending(n));
    let file =
        OpenOptions::new().create(true).append(true).open(&path).map_err(|e| LogError::io(&path, e))?;
    Ok(Arc::new(file))
}

fn recover(dir: &Path, keys: &dyn Keys, options: Options) -> Result<(State, u64, bool), LogError> {
    let checkpoint = match fs::read(dir.join("checkpoint")) {
        Ok(text) => Some(
            Checkpoint::open(&text, &keys.verifier())
                .map_err(|e| LogError::corrupt(&dir.join("checkpoint"), e.to_string()))?,
        ),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
        Err(e) => return Err(LogError::io(&dir.join("checkpoint"), e)),
    };
    let last = keys.last_signed()?;
    let floor = checkpoint.as_ref().map_or(0, |c| c.size).max(last.map_or(0, |l| l.0));
    let numbers = layout::pending_numbers(dir)?;
    let first = match numbers.first() {
        Some(n) => *n,
        None if floor == 0 && !dir.join(layout::entries(0)).exists() => 0,
        None => return Err(LogError::corrupt(&dir.join("pending"), "the current segment is missing")),
    };
    let mut tree = Tree::load(dir, first)?;
    let (mut full, mut records, mut cut, mut len) = (Vec::new(), Vec::new(), 0u64, 0u64);
    for (i, &n) in numbers.iter().enumerate() {
        let path = dir.join(layout::pending(n));
        let bytes = layout::read(dir, &layout::pending(n))?;
        let seg = layout::read_segment(&bytes);
        let is_last = i + 1 == numbers.len();
        if n != first + i as u64 || seg.records.len() > WIDTH || (!is_last && seg.records.len() != WIDTH) {
            return Err(LogError::corrupt(&path, "records are missing or too many"));
        }
        seg.records.iter().for_each(|r| tree.push(&r.leaf));
        if seg.good < bytes.len() {
            if !is_last || tree.size < floor.max(seg.synced) {
                return Err(LogError::corrupt(
                    &path,
                    format!("record {} is damaged below what was signed or synced", tree.size),
                ));
            }
            let file = OpenOptions::new().write(true).open(&path).map_err(|e| LogError::io(&path, e))?;
            file.set_len(seg.good as u64)
                .and_then(|()| file.sync_all())
                .map_err(|e| LogError::io(&path, e))?;
            cut = (bytes.len() - seg.good) as u64;
        }
        len = seg.good as u64;
        if is_last { records = seg.records } else { full.push((n, seg.records)) }
    }
    for (size, root) in last.into_iter().chain(checkpoint.map(|c| (c.size, c.root))) {
        if size > tree.size || tree.root(size)? != root {
            return Err(LogError::corrupt(
                dir,
                format!("the log does not extend the tree of {size} records that was signed"),
            ));
        }
    }
    let segment = new_segment(dir, first + full.len() as u64)?;
    for (n, _) in &full {
        new_segment(dir, *n)?.sync_data().map_err(|e| LogError::io(dir, e))?;
    }
    let (open_intents, time_ms) = unfinished(dir, first, &full, &records)?;
    let had = tree.size > 0;
    let dirty = vec![Arc::clone(&segment)];
    let state = State {
        tree,
        segment,
        segment_len: len,
        records,
        dirty,
        new_files: true,
        full,
        synced: 0,
        checkpointed: floor,
        time_ms: if had { time_ms } else { options.now_ms },
        open_intents,
        stopped: None,
        subscribers: Vec::new(),
        randomness: payload::Randomness::new(),
    };
    Ok((state, cut, had))
}

/// Intents without outcome since the log was last opened; that opening closed all before it.
fn unfinished(
    dir: &Path,
    first: u64,
    full: &[(u64, Vec<Record>)],
    tail: &[Record],
) -> Result<(BTreeSet<u64>, u64), LogError> {
    let (mut outcomes, mut open) = (BTreeSet::new(), BTreeSet::new());
    let mut scan = |records: &[Record]| -> Result<bool, LogError> {
        for record in records.iter().rev() {
            let leaf = Leaf::from_bytes(&record.leaf)
                .ok_or_else(|| LogError::corrupt(dir, "a leaf is not canonical"))?;
            match leaf.entry.phase {
                Phase::Intent if !outcomes.contains(&leaf.seq) => drop(open.insert(leaf.seq)),
                _ => outcomes.extend(leaf.entry.intent),
            }
            if leaf.entry.source == Source::Log && leaf.entry.action == "log_opened" {
                return Ok(true);
            }
        }
        Ok(false)
    };
    let mut done = scan(tail)?;
    for (_, records) in full.iter().rev() {
        done = done || scan(records)?;
    }
    for n in (0..first).rev() {
        if done {
            break;
        }
        let records = layout::unbundle(
            &layout::read(dir, &layout::entries(n))?,
            &layout::read(dir, &layout::payloads(n))?,
        );
        done = scan(
            &records.ok_or_else(|| LogError::corrupt(&dir.join(layout::entries(n)), "a malformed bundle"))?,
        )?;
    }
    Ok((open, 0))
}
