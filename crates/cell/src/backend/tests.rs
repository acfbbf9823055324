use std::io::Write;
use std::os::unix::net::UnixListener;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread::JoinHandle;

use chaperone_protocol::Failure;
use chaperone_protocol::session::NO_CELL;
use rustix::event::PollFlags;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::*;
use crate::control::{self, InitMessage, InitOrder, take_order};
use crate::plan::{Limits, Network, Terminal};
use crate::{BACKENDS, backend_by_name, packet};

/// What a backend must provide, and no more. Its cells are ordinary processes that wall nothing off.
struct FakeBackend {
    name: &'static str,
    missing: Option<&'static str>,
}

/// The process, and who speaks for its cell-init.
#[derive(Debug)]
struct FakeCell {
    child: Child,
    init: JoinHandle<io::Result<()>>,
}

const FAKE: FakeBackend = FakeBackend { name: "fake", missing: None };
const BROKEN: FakeBackend = FakeBackend { name: "broken", missing: Some("no fakes are left") };

impl Backend for FakeBackend {
    fn name(&self) -> &'static str {
        self.name
    }

    fn help(&self) -> &'static str {
        "Nothing at all"
    }

    fn available(&self) -> Result<(), SetupError> {
        self.missing.map_or(Ok(()), |what| Err(SetupError::new(what).fix("make more")))
    }

    fn probe(&self, _self_exe: &Path) -> Vec<Layer> {
        let state = if self.missing.is_none() { LayerState::Ok } else { LayerState::Missing };
        vec![Layer { layer: "walls", state, required: true, detail: "none".to_owned(), fix: None }]
    }

    fn launch(&self, plan: &Plan) -> Result<(Launched, BrokerEnds), SetupError> {
        let failed = |e: io::Error| SetupError::new(e.to_string());
        let (control, inside) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .map_err(|e| failed(e.into()))?;
        let channel = UnixListener::bind(plan.workdir.join("channel")).map_err(failed)?;
        // It waits for a line before it becomes the agent.
        let mut child = Command::new("/bin/sh")
            .args(["-c", "read go && exec \"$@\"", "fake"])
            .args(&plan.command)
            .stdin(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let go = child.stdin.take();
        let init = std::thread::spawn(move || speak(&inside, go));
        let launched = Launched {
            init_pid: i32::try_from(child.id()).unwrap(),
            pty: None,
            stops: None,
            enforced: Enforced { landlock: 0, cgroup: "watched".into(), groups: vec![], runtime: None },
            cell: Box::new(FakeCell { child, init }),
        };
        Ok((launched, BrokerEnds { control, channel: channel.into(), fuse: vec![], network: None }))
    }

    fn can_capture(&self) -> Result<(), SetupError> {
        Err(SetupError::new("it captures nothing"))
    }
}

/// What cell-init says and does, until the broker is gone.
fn speak(control: &OwnedFd, mut go: Option<ChildStdin>) -> io::Result<()> {
    control::report(control, &InitMessage::Hello { key: "00".into() }, &[])?;
    while packet::wait(control, PollFlags::IN, None)? {
        if take_order(control)? == Some(InitOrder::Go)
            && let Some(mut go) = go.take()
        {
            go.write_all(b"go\n")?;
            control::report(control, &InitMessage::Started, &[])?;
        }
    }
    Ok(())
}

impl Cell for FakeCell {
    fn wait(mut self: Box<Self>) -> io::Result<Exit> {
        let status = self.child.wait()?;
        let (cause, code) = match status.code() {
            Some(code) => ("exit", code),
            None => ("broker", 128 + status.signal().unwrap_or_default()),
        };
        // It ends with an error when the broker hangs up.
        drop(self.init.join().unwrap());
        Ok(Exit { cause: cause.into(), code, reason: String::new() })
    }

    fn over(self: Box<Self>) -> io::Result<Exit> {
        self.wait()
    }
}

fn plan(directory: &Path, command: &[&str]) -> Plan {
    Plan {
        session: "s".into(),
        program: command.first().map(Into::into).unwrap_or_default(),
        command: command.iter().map(Into::into).collect(),
        environment: vec![],
        workdir: directory.to_owned(),
        umask: 0o022,
        mounts: vec![],
        read_only: vec![],
        covered: vec![],
        scratch: vec![],
        caches: vec![],
        decoys: vec![],
        limits: Limits::default(),
        network: Network::None,
        authority: None,
        terminal: Terminal::Inherit,
        debug: false,
        tells: false,
        self_exe: directory.to_owned(),
        own_place: None,
        home_files: vec![],
    }
}

fn next(control: &OwnedFd) -> InitMessage {
    control::receive(control, None).unwrap().unwrap().0
}

#[test]
fn what_a_backend_gives_is_all_that_broker_and_launcher_need() {
    let directory = tempfile::tempdir().unwrap();
    let (launched, ends) = FAKE.launch(&plan(directory.path(), &["/bin/sh", "-c", "exit 7"])).unwrap();
    // The broker's part.
    assert_eq!(next(&ends.control), InitMessage::Hello { key: "00".into() });
    control::order(&ends.control, &InitOrder::Go).unwrap();
    assert_eq!(next(&ends.control), InitMessage::Started);
    drop(ends);
    // The launcher's.
    assert_eq!(launched.over().unwrap(), Exit { cause: "exit".into(), code: 7, reason: String::new() });
}

#[test]
fn a_cell_that_waits_for_its_order_can_be_ended() {
    let directory = tempfile::tempdir().unwrap();
    let (launched, ends) = FAKE.launch(&plan(directory.path(), &["/bin/true"])).unwrap();
    launched.kill();
    drop(ends);
    assert_eq!(launched.wait().unwrap().code, 137);
}

#[test]
fn the_strongest_that_is_available_is_chosen_where_that_is_asked_for() {
    let all: [&'static dyn Backend; 2] = [&BROKEN, &FAKE];
    let chosen = |all: &[&'static dyn Backend], name: &str| {
        let Ok(Choice { backend, passed_over }) = choose(all, name) else { panic!("{name}: none") };
        (backend.name(), passed_over)
    };
    let told = "the backend broken cannot be used here: no fakes are left; this session gets fake";
    assert_eq!(chosen(&all, STRONGEST), ("fake", Some(told.to_owned())));
    assert_eq!(chosen(&[&FAKE, &BROKEN], STRONGEST), ("fake", None));
    assert_eq!(chosen(&all, "fake"), ("fake", None));
}

#[test]
fn what_is_not_available_or_not_there_is_refused_with_its_reason_and_nothing_stands_in() {
    let all: [&'static dyn Backend; 2] = [&BROKEN, &FAKE];
    let refused = |all: &[&'static dyn Backend], named: &str| match choose(all, named) {
        Ok(Choice { backend, .. }) => panic!("{} stands in", backend.name()),
        Err(refused) => refused,
    };
    for refused in [refused(&all, "broken"), refused(&[&BROKEN], STRONGEST)] {
        assert_eq!(refused.to_string(), "the backend broken cannot be used here: no fakes are left");
        let NoBackend::Unavailable { why, .. } = refused else { panic!("{refused:?}") };
        assert_eq!(why.fix.as_deref(), Some("make more"));
    }
    for unknown in ["Fake", "", "microvm"] {
        assert!(matches!(refused(&all, unknown), NoBackend::Unknown(name) if name == unknown));
    }
    assert!(matches!(refused(&[], STRONGEST), NoBackend::Unknown(name) if name == STRONGEST));
}

#[test]
fn a_refusal_says_what_mends_it() {
    let unknown = Failure::from(NoBackend::Unknown("no such".into()));
    assert_eq!(unknown.code, "no_backend");
    assert!(unknown.advice.unwrap().starts_with("use --backend "));
    let why = SetupError::new("it is off").fix("switch it on");
    let refused = Failure::from(NoBackend::Unavailable { name: "fake", why });
    assert_eq!(refused.code, "backend_unavailable");
    assert_eq!(refused.message, "the backend fake cannot be used here: it is off");
    assert_eq!(refused.advice.as_deref(), Some("to fix this: switch it on"));
}

#[test]
fn each_backend_has_a_name_of_its_own_and_a_line_of_help() {
    for backend in BACKENDS {
        let name = backend.name();
        assert_eq!(backend_by_name(name).map(Backend::name), Some(name));
        assert!(![STRONGEST, NO_CELL, ""].contains(&name), "{name} stands for something else");
        assert_eq!(BACKENDS.iter().filter(|other| other.name() == name).count(), 1, "{name}");
        assert!(!backend.help().is_empty() && !backend.help().ends_with('.'), "{name}: {}", backend.help());
    }
    for unknown in ["Native", "", STRONGEST] {
        assert!(backend_by_name(unknown).is_none(), "{unknown}");
    }
}
