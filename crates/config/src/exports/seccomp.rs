//! The agent's system calls as OCI runtimes take them: the lists of a cell (`packs/cell/system_calls.toml`), and its checks of
//! arguments as comparisons.

use serde::Deserialize;
use serde_json::{Value, json};

use super::target::{ExportError, File};
use super::wall::Wall;

const PACK: &str = "packs/cell/system_calls.toml";

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;
const EAFNOSUPPORT: u32 = 97;

/// The families of sockets: unix, IPv4, IPv6, netlink.
const UNIX: u32 = 1;
const INTERNET: [u32; 2] = [2, 10];
const NETLINK: u32 = 16;
/// Kinds of sockets, below the flags that `socket` takes with them.
const STREAM: u32 = 1;
const DATAGRAM: u32 = 2;
const PACKETS: u32 = 5;
const KIND: u32 = 0xf;
/// Protocols of internet sockets: the kind's own, TCP, UDP.
const PROTOCOLS: [u32; 3] = [0, 6, 17];

/// Each kind of new namespace, as a flag of `clone`: time, mount, cgroup, uts, ipc, user, pid, network.
const NAMESPACES: [u32; 8] =
    [0x80, 0x2_0000, 0x200_0000, 0x400_0000, 0x800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000];
/// Requests to a terminal that put words into another's mouth: `TIOCSTI`, `TIOCLINUX`, `TIOCVHANGUP`.
const TERMINAL: [u32; 3] = [0x5412, 0x541c, 0x5437];
/// What `personality` may be asked for, as in a cell: nothing, the default, where its own memory is and what of it runs.
const PERSONALITIES: [u32; 5] = [0xffff_ffff, 0, 0x4_0000, 0x40_0000, 0x44_0000];
/// What `prctl` is not asked for: securebits, ambient capabilities, the memory map, who may trace.
const PRIVILEGED: [u32; 4] = [28, 47, 35, 0x5961_6d61];

/// The lists of the pack.
#[derive(Debug, Deserialize)]
pub(super) struct Calls {
    pub allow: Vec<String>,
    pub check: Vec<String>,
    record: Vec<String>,
    debug: Vec<String>,
    answer: Answers,
}

#[derive(Debug, Deserialize)]
struct Answers {
    no_such_call: Vec<String>,
}

impl Calls {
    pub fn read() -> Result<Self, ExportError> {
        Ok(chaperone_packs::read(PACK)?)
    }

    /// Those that are allowed whatever their arguments are.
    pub fn allowed(&self, debug: bool) -> Vec<&str> {
        let debugging = if debug { self.debug.as_slice() } else { &[] };
        self.allow.iter().chain(debugging).map(String::as_str).collect()
    }

    fn refused(&self, debug: bool) -> Vec<&str> {
        let is_refused =
            |name: &&String| !(self.answer.no_such_call.contains(name) || debug && self.debug.contains(name));
        self.record.iter().filter(is_refused).map(String::as_str).collect()
    }
}

pub(super) fn files(wall: &Wall<'_>) -> Result<Vec<File>, ExportError> {
    Ok(vec![file(wall)?])
}

/// The filter that goes with a container.
pub(super) fn file(wall: &Wall<'_>) -> Result<File, ExportError> {
    let calls = Calls::read()?;
    let debug = wall.profile.debug;
    let comment = format!(
        "The system calls of an agent under the profile {}, and nothing else of it: a filter shows and hides no file and closes no \
         network, and no refusal is recorded. A cell has an init of Chaperone's, which a container has not: prlimit64 and sched_set* \
         are allowed for every process.",
        wall.name
    );
    let mut rules = vec![
        json!({ "names": calls.allowed(debug), "action": "SCMP_ACT_ALLOW", "comment": comment }),
        json!({ "names": calls.refused(debug), "action": "SCMP_ACT_ERRNO", "errnoRet": EPERM,
            "comment": "Refused; a session records these as attempts." }),
    ];
    for name in &calls.check {
        rules.extend(checked(name)?);
    }
    // No list of architectures: a runtime then takes its own alone, and ends a program that calls by another's numbers.
    let filter = json!({ "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": ENOSYS, "syscalls": rules });
    let text = serde_json::to_string_pretty(&filter).unwrap_or_default() + "\n";
    Ok(File { name: name(wall), text })
}

pub(super) fn name(wall: &Wall<'_>) -> String {
    format!("{}.seccomp.json", wall.title())
}

/// The rules of a call that is allowed with some arguments.
fn checked(name: &str) -> Result<Vec<Value>, ExportError> {
    Ok(match name {
        "socket" | "socketpair" => sockets(name),
        "clone" => {
            let all = NAMESPACES.iter().fold(0, |all, flag| all | flag);
            let mut rules = vec![allow(name, vec![masked(0, all, 0)])];
            rules.extend(NAMESPACES.map(|flag| refuse(name, EPERM, vec![masked(0, flag, flag)])));
            rules
        }
        "ioctl" => all_but_these(name, 1, &TERMINAL),
        "prctl" => all_but_these(name, 0, &PRIVILEGED),
        "personality" => {
            let mut rules: Vec<Value> =
                PERSONALITIES.map(|own| allow(name, vec![masked(0, u32::MAX, own)])).into();
            rules.extend(
                all_but(&PERSONALITIES)
                    .map(|(mask, value)| refuse(name, EPERM, vec![masked(0, mask, value)])),
            );
            rules
        }
        // Of one process or group, not of all that a user has.
        "setpriority" => of_one(name, [0, 1], 2),
        "ioprio_set" => of_one(name, [1, 2], 3),
        "prlimit64" | "sched_setaffinity" | "sched_setparam" | "sched_setscheduler" | "sched_setattr" => {
            vec![json!({ "names": [name], "action": "SCMP_ACT_ALLOW" })]
        }
        _ => return Err(ExportError::NoCheck(name.to_owned())),
    })
}

fn of_one(name: &str, processes: [u32; 2], everybody: u32) -> Vec<Value> {
    let mut rules: Vec<Value> = processes.map(|which| allow(name, vec![masked(0, u32::MAX, which)])).into();
    rules.push(refuse(name, EPERM, vec![masked(0, u32::MAX, everybody)]));
    rules
}

/// Unix; TCP and UDP; the netlink that tells of routes. No other family is known.
fn sockets(name: &str) -> Vec<Value> {
    let family = |family| masked(0, u32::MAX, family);
    let kind = |kind| masked(1, KIND, kind);
    let mut rules: Vec<Value> =
        [STREAM, DATAGRAM, PACKETS].map(|k| allow(name, vec![family(UNIX), kind(k)])).into();
    for (of, k) in INTERNET.into_iter().flat_map(|of| [STREAM, DATAGRAM].map(|k| (of, k))) {
        rules.extend(PROTOCOLS.map(|p| allow(name, vec![family(of), kind(k), masked(2, u32::MAX, p)])));
    }
    rules.push(allow(name, vec![family(NETLINK), masked(2, u32::MAX, 0)]));
    let known = [UNIX, INTERNET[0], INTERNET[1], NETLINK];
    rules.extend(
        all_but(&known).map(|(mask, value)| refuse(name, EAFNOSUPPORT, vec![masked(0, mask, value)])),
    );
    rules
}

/// Allowed with any value of an argument but these.
fn all_but_these(name: &str, argument: u32, not: &[u32]) -> Vec<Value> {
    let others = all_but(not).map(|(mask, value)| allow(name, vec![masked(argument, mask, value)]));
    let these = not.iter().map(|value| refuse(name, EPERM, vec![masked(argument, u32::MAX, *value)]));
    others.chain(these).collect()
}

/// Masks and values of which one fits every number of 32 bits but these, and none fits these. The kernel takes these arguments
/// as 32 bits; "not equal" compares 64, and a program sets the upper half as it likes.
pub(super) fn all_but(not: &[u32]) -> impl Iterator<Item = (u32, u32)> + use<> {
    let mut out = Vec::new();
    let mut open = vec![(0_u32, 0_u32)];
    while let Some((length, prefix)) = open.pop() {
        let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
        if !not.iter().any(|value| value & mask == prefix) {
            out.push((mask, prefix));
        } else if length < 32 {
            open.extend([(length + 1, prefix), (length + 1, prefix | 1 << (31 - length))]);
        }
    }
    out.into_iter()
}

/// An argument of which the bits of a mask have this value.
fn masked(index: u32, mask: u32, value: u32) -> Value {
    json!({ "index": index, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ" })
}

fn allow(name: &str, args: Vec<Value>) -> Value {
    json!({ "names": [name], "action": "SCMP_ACT_ALLOW", "args": args })
}

fn refuse(name: &str, errno: u32, args: Vec<Value>) -> Value {
    json!({ "names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": errno, "args": args })
}
