//! The broker's process: it starts the vault, opens the log, loads the policy, and answers the user's commands.

use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use chaperone_audit::{Log, Options};
use chaperone_config::{Dirs, policy_files};
use chaperone_inspect::Detectors;
use chaperone_inspect::outgoing::Outgoing;
use chaperone_pipeline::Pipeline;
use chaperone_pipeline::approvals::Approvals;
use chaperone_pipeline::authority::Ledgers;
use chaperone_pipeline::clock::SystemClock;
use chaperone_pipeline::events::Bus;
use chaperone_pipeline::faults;
use chaperone_pipeline::inspection::Inspection;
use chaperone_pipeline::ports::Clock as _;
use chaperone_pipeline::records::Records;
use chaperone_pipeline::vault::Vault;
use chaperone_pipeline::verdicts::Verdicts;
use chaperone_protocol::{Event, Failure, Happened};
use chaperone_quota::Descriptors;
use chaperone_worker::{Worker, WorkerPool};
use parking_lot::{Mutex, RwLock};
use rustix::fs::FlockOperation;

use crate::broker::Broker;
use crate::control::{self, Connection};
use crate::policy_reload;

/// Commands answered at once. Protects threads; beyond it a connection is closed.
const MAX_CONNECTIONS: usize = 256;

/// How often it is recorded what repeated itself.
const COUNT_EVERY: Duration = Duration::from_secs(1);

/// Run the broker until it is killed. `ready` tells the starter `ready`, `already`, or what is wrong.
///
/// # Errors
/// Why it cannot start; the starter was told.
pub fn main(ready: fn(&str) -> std::io::Result<()>) -> Result<(), Failure> {
    let told = |failure: Failure| {
        // Without a starter that listens there is nobody to tell.
        ready(&failure.message).ok();
        failure
    };
    let dirs = Dirs::from_environment().map_err(|e| told(Failure::new("no_home", e.to_string())))?;
    dirs.prepare().map_err(|e| told(Failure::new("state_unavailable", e.to_string())))?;
    // Commands that come while another one starts the broker wait until it listens.
    let starting = lock(&dirs, "starting.lock", FlockOperation::LockExclusive).map_err(told)?;
    let Some(_lock) = lock(&dirs, "broker.lock", FlockOperation::NonBlockingLockExclusive).map_err(told)?
    else {
        ready("already").ok();
        return Ok(());
    };
    faults::remember_in(&dirs.state);
    let (broker, listener) = start(dirs).map_err(told)?;
    drop(starting);
    // It listens: others may be waiting by now, whatever became of the command that started it.
    ready("ready").ok();
    for stream in listener.incoming().flatten() {
        let open = Arc::clone(&broker.conversations);
        if Arc::strong_count(&open) > MAX_CONNECTIONS + 1 || !control::is_ours(&stream) {
            continue;
        }
        let broker = Arc::clone(&broker);
        let answer = move || {
            Connection::new(broker).serve(&stream);
            drop(open);
        };
        // A connection that gets no thread is closed; its command says so.
        std::thread::Builder::new().name("command".into()).spawn(answer).ok();
    }
    Ok(())
}

/// One broker for each installation. `None` when another one has the lock.
fn lock(dirs: &Dirs, name: &str, how: FlockOperation) -> Result<Option<std::fs::File>, Failure> {
    let path = dirs.run.join(name);
    let file = std::fs::File::create(&path)
        .map_err(|e| Failure::new("state_unavailable", format!("{}: {e}", path.display())))?;
    match rustix::fs::flock(&file, how) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(e) => Err(Failure::new("state_unavailable", format!("{}: {e}", path.display()))),
    }
}

fn start(dirs: Dirs) -> Result<(Arc<Broker>, UnixListener), Failure> {
    chaperone_sys::give_memory_back();
    chaperone_sys::harden().map_err(|e| Failure::new("no_hardening", e.to_string()))?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    raise_descriptors();
    // An agent that keeps every processor busy must not wait longer for its own files. Where it cannot be asked for,
    // things are only slower.
    chaperone_sys::prefer_short_slices().ok();
    let exe = std::env::current_exe().map_err(|e| Failure::new("no_program", e.to_string()))?;
    let vault = Arc::new(Vault::start(&exe, &dirs.vault())?);
    let issuer = vault.issuer()?;
    let clock = Arc::new(SystemClock);
    let options = Options {
        now_ms: clock.now_ms(),
        checkpoint_records: 4096,
        checkpoint_every: Duration::from_secs(5),
    };
    let keys = Arc::clone(&vault) as Arc<dyn chaperone_audit::Keys>;
    let log = Log::open(&dirs.audit(), keys, options).map_err(|e| {
        Failure::new("audit_unavailable", format!("the audit log cannot be opened: {e}"))
            .advise("look at it with: chaperone audit verify; move it aside and begin a new one with: chaperone audit archive")
    })?;
    let bus = Arc::new(Bus::default());
    let log = Arc::new(log);
    let records = Arc::new(
        Records::new(
            Arc::clone(&log) as _,
            Arc::clone(&vault) as _,
            Arc::clone(&bus),
            Arc::clone(&clock) as _,
        )
        .on_disk_of(&dirs.audit()),
    );
    let (policy, problems) = policy_files::in_force(&dirs, &|about| vault.own_secret(about))?;
    for problem in problems {
        bus.tell(&Event::general(Happened::PolicyProblem { problem }));
    }
    records.set_policy(policy.current().revision());
    let detectors = Detectors::builtin().map_err(|e| Failure::new("bad_detectors", e.to_string()))?;
    let workers = WorkerPool::new(move || {
        let mut command = Command::new(&exe);
        command.arg("__worker");
        Worker::spawn(command)
    });
    let outgoing = Arc::new(Outgoing::new(detectors));
    let verdicts = Arc::new(verdicts(&dirs, &vault, &clock)?);
    let inspection =
        Inspection::new(Arc::clone(&outgoing), workers, Arc::clone(&vault) as _, Arc::clone(&verdicts));
    let policy = Arc::new(policy);
    let ledgers = Ledgers::open(&dirs.state, clock.now())?;
    let pipeline = Pipeline {
        policy: Arc::clone(&policy) as _,
        records,
        approvals: Arc::new(Approvals::default()),
        inspection: Arc::new(inspection),
        outgoing,
        vault: Arc::clone(&vault) as _,
        clock,
        issuer,
        ledgers,
        verdicts,
    };
    let path = dirs.socket();
    match std::fs::remove_file(&path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            return Err(Failure::new("state_unavailable", format!("{}: {e}", path.display())));
        }
        _ => {}
    }
    let listener = UnixListener::bind(&path)
        .map_err(|e| Failure::new("state_unavailable", format!("{}: {e}", path.display())))?;
    let broker = Arc::new(Broker {
        dirs,
        pipeline: Arc::new(pipeline),
        policy,
        checked_policies: policy_files::CheckedPolicies::default(),
        said_of_path: Mutex::default(),
        log,
        vault,
        bus,
        // After the limit was raised.
        descriptors: Arc::new(Descriptors::of_process()),
        sessions: RwLock::default(),
        // One that cannot be told from another is taken for another.
        build: chaperone_config::program::build().unwrap_or_default(),
        conversations: Arc::default(),
    });
    policy_reload::watch(&broker)?;
    count_repetitions(&broker)?;
    crate::notify::start(&broker.bus);
    Ok((broker, listener))
}

/// The verdicts that are kept below the state, of this very program: another one may find more.
fn verdicts(dirs: &Dirs, vault: &Vault, clock: &Arc<SystemClock>) -> Result<Verdicts, Failure> {
    let key = vault.own_secret(b"verdicts")?;
    let program = std::fs::metadata("/proc/self/exe");
    // Of a program that cannot be told from another, nothing is kept for the next one.
    let dir = program.is_ok().then(|| dirs.state.join("verdicts"));
    let program = program.map(|meta| {
        let changed = [meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec()];
        format!("{}:{}:{}:{changed:?}", meta.dev(), meta.ino(), meta.len())
    });
    let revision = [env!("CARGO_PKG_VERSION"), chaperone_packs::digest(), &program.unwrap_or_default()];
    Ok(Verdicts::new(dir.as_deref(), (&key, revision.join("\n").as_bytes()), Arc::clone(clock) as _))
}

/// What repeats itself is counted; the count is recorded each second.
fn count_repetitions(broker: &Arc<Broker>) -> Result<(), Failure> {
    let broker = Arc::downgrade(broker);
    let count = move || {
        while let Some(broker) = broker.upgrade() {
            let running: Vec<_> =
                broker.sessions.read().values().map(|live| Arc::clone(&live.session)).collect();
            for session in running {
                // A log that cannot be written denies whatever comes next.
                broker.pipeline.records.repeated(&session).ok();
            }
            drop(broker);
            std::thread::sleep(COUNT_EVERY);
        }
    };
    std::thread::Builder::new()
        .name("repetitions".into())
        .spawn(count)
        .map(drop)
        .map_err(|e| Failure::new("no_threads", e.to_string()))
}

/// Soft limit of descriptors up to the hard one: snapshots, handles and cells need some.
fn raise_descriptors() {
    // Where it cannot be raised, the bounds on sessions and handles are met earlier.
    chaperone_sys::raise_descriptor_limit().ok();
}
