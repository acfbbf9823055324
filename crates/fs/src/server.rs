//! The server: threads that read requests from the mounted descriptor and answer them.
//!
//! One thread reads at a time and answers what is quick itself. A wake-up across processors costs more than most
//! answers, so it looks for the next request a little while before it sleeps, as long as requests come that fast.
//! Before something slow it hands the reading over.

use std::cell::Cell;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::announcing::Repeat;
use crate::gate::Gate;
use crate::nodes::Version;
use crate::protocol::{self, Header, Reply, flag, op};
use crate::shared::{Options, Shared, Workers};
use crate::tree::Tree;

/// Threads of one mount that wait for the reading to be handed over; more than that end.
const IDLE: usize = 2;
/// How long the reader looks for the next request before it sleeps.
const LOOKING: Duration = Duration::from_micros(150);
/// Between two looks, so that the kernel's lock is left to those who ask.
const PAUSES: u32 = 100;
/// How often the kernel is asked again to write back a page that was busy.
const WRITE_BACK_TRIES: u32 = 5;
/// How long a guest's kernel may take to write back what it has.
const SETTLED: Duration = Duration::from_secs(3);

/// A served mount. Dropping it does not stop it: the end of the mount does.
pub struct Server {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

/// Serve a mounted descriptor until the mount ends.
///
/// # Errors
/// When threads cannot be started.
pub fn serve(
    device: OwnedFd,
    tree: Arc<Tree>,
    gate: Arc<dyn Gate>,
    options: Options,
) -> std::io::Result<Server> {
    rustix::io::ioctl_fionbio(&device, true)?;
    let shared = Arc::new(Shared::new(File::from(device), tree, gate, options)?);
    spawn(&shared)?;
    Ok(Server { shared })
}

fn spawn(shared: &Arc<Shared>) -> std::io::Result<()> {
    let shared = Arc::clone(shared);
    std::thread::Builder::new().name("fs".into()).spawn(move || work(&shared)).map(drop)
}

impl Server {
    /// Force dirty pages of shared mappings back into the stage. To be called before a commit, never from a gate.
    ///
    /// # Errors
    /// When a page cannot be written back: what is staged would not be what the agent wrote.
    pub fn sync_mappings(&self) -> std::io::Result<()> {
        let staged: Vec<u64> = {
            let nodes = self.shared.nodes.read();
            nodes
                .all()
                .filter(|(_, n)| matches!(n.version, Some(Version::Staged(_))))
                .map(|(number, _)| number)
                .collect()
        };
        for node in staged {
            let mut tries = 0;
            loop {
                match self.shared.invalidate_node(node) {
                    Ok(()) => break,
                    Err(rustix::io::Errno::BUSY) if tries < WRITE_BACK_TRIES => tries += 1,
                    Err(e) => return Err(e.into()),
                }
            }
        }
        self.shared.settle(SETTLED);
        Ok(())
    }

    /// The path changed by another way than this mount: the kernel forgets what it knows of it.
    pub fn invalidate(&self, path: &str) {
        self.shared.forget(path);
    }

    /// From now on, what the user changes is repeated in the cell by `repeat`, for programs that watch for it.
    ///
    /// # Errors
    /// When there is no watch or no thread to be had.
    pub fn announce(&self, repeat: Repeat) -> std::io::Result<()> {
        crate::outside::watch(&self.shared, repeat)
    }

    /// Wait for the mount's end, at most this long; then nothing is open any more. A mount that ends takes along what the kernel
    /// had not told yet: that files were closed.
    pub fn finish(&self, limit: Duration) {
        {
            let mut workers = self.shared.workers.lock();
            let works = |workers: &mut Workers| workers.alive > 0;
            self.shared.workers_changed.wait_while_for(&mut workers, works, limit);
        }
        let open: Vec<u64> = self.shared.handles.read().keys().copied().collect();
        open.into_iter().for_each(|fh| crate::requests::close(&self.shared, fh));
    }

    /// Whether the mount is gone.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.shared.ended.load(Ordering::Acquire)
    }
}

/// Leaves the workers however the thread ends.
struct Member<'a>(&'a Shared);

impl Drop for Member<'_> {
    fn drop(&mut self) {
        self.0.workers.lock().alive -= 1;
        self.0.workers_changed.notify_all();
    }
}

/// The reading; whoever holds it reads. Dropping it hands it over.
struct Reading<'a> {
    shared: &'a Arc<Shared>,
    held: Cell<bool>,
}

impl Reading<'_> {
    /// Let another thread read from here on.
    fn hand_over(&self) {
        if !self.held.replace(false) {
            return;
        }
        let mut workers = self.shared.workers.lock();
        workers.free = true;
        if workers.waiting > 0 {
            self.shared.workers_changed.notify_one();
        } else {
            workers.alive += 1;
            drop(workers);
            if spawn(self.shared).is_err() {
                // No thread to be had: this one goes on reading when it is done.
                self.shared.workers.lock().alive -= 1;
            }
        }
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        if self.held.get() {
            self.shared.workers.lock().free = true;
            self.shared.workers_changed.notify_one();
        }
    }
}

fn work(shared: &Arc<Shared>) {
    let _member = Member(shared);
    let mut buffer = vec![0u8; protocol::MAX_IO as usize + 8192];
    let mut spin = SpinWait::default();
    while take_over(shared) {
        let reading = Reading { shared, held: Cell::new(true) };
        while reading.held.get() {
            match rustix::io::read(shared.device.as_fd(), &mut buffer[..]) {
                Ok(n) => {
                    let request = buffer.get(..n).unwrap_or_default();
                    let Ok((header, body)) = Header::parse(request) else { return end(shared) };
                    match header.opcode {
                        op::NOTIFY_REPLY => shared.has_settled(header.unique),
                        op::INIT => shared.answer(&init(shared, header, body)),
                        op::DESTROY => {
                            shared.answer(&Reply::new().finish(header.unique, 0));
                            return end(shared);
                        }
                        _ => {
                            let slow = || reading.hand_over();
                            if let Some(reply) = crate::requests::answer(shared, header, body, &slow) {
                                shared.answer(&reply);
                            }
                        }
                    }
                }
                Err(rustix::io::Errno::AGAIN) => match spin.wait(&shared.device) {
                    Ok(()) | Err(rustix::io::Errno::INTR) => {}
                    Err(_) => return end(shared),
                },
                Err(rustix::io::Errno::INTR | rustix::io::Errno::NOENT) => {}
                // ENODEV: unmounted.
                Err(_) => return end(shared),
            }
        }
    }
}

/// Wait until the reading is free and take it; false when this thread is not needed, or the mount ended.
fn take_over(shared: &Shared) -> bool {
    let mut workers = shared.workers.lock();
    workers.waiting += 1;
    loop {
        if shared.ended.load(Ordering::Acquire) {
            workers.waiting -= 1;
            return false;
        }
        if workers.free {
            workers.free = false;
            workers.waiting -= 1;
            return true;
        }
        if workers.waiting > IDLE {
            workers.waiting -= 1;
            return false;
        }
        shared.workers_changed.wait(&mut workers);
    }
}

fn end(shared: &Shared) {
    shared.ended.store(true, Ordering::Release);
    for cancel in shared.waiting.lock().values() {
        cancel.cancel();
    }
    shared.announcing.wake();
    shared.has_settled(0);
    let _workers = shared.workers.lock();
    shared.workers_changed.notify_all();
}

/// Waits for requests: awake while they come in quick succession, else asleep.
#[derive(Default)]
struct SpinWait {
    /// Rises when a request came within [`LOOKING`], falls when not.
    quick: u8,
}

impl SpinWait {
    fn wait(&mut self, device: &File) -> rustix::io::Result<()> {
        let begun = Instant::now();
        let mut ready = [PollFd::new(device, PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        if self.quick >= 2 {
            while begun.elapsed() < LOOKING {
                if poll(&mut ready, Some(&now))? > 0 {
                    self.quick = (self.quick + 1).min(4);
                    return Ok(());
                }
                (0..PAUSES).for_each(|_| std::hint::spin_loop());
            }
        }
        poll(&mut ready, None)?;
        self.quick =
            if begun.elapsed() < LOOKING { (self.quick + 1).min(4) } else { self.quick.saturating_sub(1) };
        Ok(())
    }
}

fn init(shared: &Shared, header: Header, mut body: protocol::Reader<'_>) -> Vec<u8> {
    let (Ok(major), Ok(_minor), Ok(read_ahead), Ok(offered)) =
        (body.u32(), body.u32(), body.u32(), body.u32())
    else {
        return Reply::error(header.unique, libc_errno(rustix::io::Errno::PROTO));
    };
    if major != 7 {
        return Reply::error(header.unique, libc_errno(rustix::io::Errno::PROTO));
    }
    let mut wanted = flag::ASYNC_READ
        | flag::ATOMIC_O_TRUNC
        | flag::BIG_WRITES
        | flag::DO_READDIRPLUS
        | flag::READDIRPLUS_AUTO
        | flag::PARALLEL_DIROPS
        | flag::MAX_PAGES;
    if shared.options.write_back {
        wanted |= flag::WRITEBACK_CACHE;
    }
    protocol::init_out(wanted & offered, read_ahead.max(1 << 17), shared.max_io()).finish(header.unique, 0)
}

pub(crate) fn libc_errno(errno: rustix::io::Errno) -> i32 {
    errno.raw_os_error()
}
