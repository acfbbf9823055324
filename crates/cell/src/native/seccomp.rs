//! The agent's seccomp filter: lists as data (`packs/cell/system_calls.toml`), compiled to a binary tree of BPF.

use chaperone_sys::seccomp::Instruction;
use serde::Deserialize;
use thiserror::Error;

use super::calls;

const PACK: &str = "packs/cell/system_calls.toml";

const LD: u16 = 0x20;
const JEQ: u16 = 0x15;
const JGE: u16 = 0x35;
const JSET: u16 = 0x45;
const JA: u16 = 0x05;
const RET: u16 = 0x06;
const AND: u16 = 0x54;

const ALLOW: u32 = 0x7fff_0000;
const KILL: u32 = 0x8000_0000;
const NOTIFY: u32 = 0x7fc0_0000;
const ERRNO: u32 = 0x0005_0000;

/// New namespaces of any kind: user, mount, cgroup, uts, ipc, pid, net, time.
const CLONE_NEW: u32 = 0x7e02_0080;
/// Of `ioprio_set`: all processes of a user.
const IOPRIO_WHO_USER: u32 = 3;
/// The cell's init, as the agent names it.
const INIT: u32 = 1;
/// The ABI bit of x32 calls.
const X32: u32 = 0x4000_0000;
#[cfg(target_arch = "x86_64")]
const ARCH: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCH: u32 = 0xc000_00b7;

/// The lists of a pack.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Lists {
    allow: Vec<String>,
    check: Vec<String>,
    record: Vec<String>,
    debug: Vec<String>,
    answer: Answers,
}

/// Which refused calls are answered with something other than `EPERM`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Answers {
    no_such_family: Vec<String>,
    no_such_call: Vec<String>,
}

#[derive(Debug, Error)]
pub enum FilterError {
    #[error(transparent)]
    Parse(chaperone_packs::PackError),
    #[error("packs/cell/system_calls.toml: {0} has no argument check in the code")]
    NoCheck(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    Return(u32),
    Socket,
    Clone,
    Ioctl,
    Personality,
    Prctl,
    Process,
    /// `everybody`: the value of the first argument that means all processes of a user.
    Priority {
        everybody: u32,
    },
}

/// Compile the agent's filter; `debug` allows ptrace and its kin inside the cell.
///
/// # Errors
/// When the pack is not right.
pub fn agent_filter(debug: bool) -> Result<Vec<Instruction>, FilterError> {
    let lists = Lists::read()?;
    let mut rules: Vec<(u32, Rule)> = Vec::new();
    let numbers = |names: &[String], rule: Rule| -> Vec<(u32, Rule)> {
        names.iter().filter_map(|n| calls::number(n)).map(|nr| (nr, rule)).collect()
    };
    rules.extend(numbers(&lists.allow, Rule::Return(ALLOW)));
    for name in &lists.check {
        let rule = match name.as_str() {
            "socket" | "socketpair" => Rule::Socket,
            "clone" => Rule::Clone,
            "ioctl" => Rule::Ioctl,
            "personality" => Rule::Personality,
            "prctl" => Rule::Prctl,
            "prlimit64" | "sched_setaffinity" | "sched_setparam" | "sched_setscheduler" | "sched_setattr" => {
                Rule::Process
            }
            "setpriority" => Rule::Priority { everybody: libc::PRIO_USER },
            "ioprio_set" => Rule::Priority { everybody: IOPRIO_WHO_USER },
            _ => return Err(FilterError::NoCheck(name.clone())),
        };
        rules.extend(calls::number(name).map(|nr| (nr, rule)));
    }
    for name in &lists.record {
        let is_allowed = debug && lists.debug.contains(name);
        let rule = Rule::Return(if is_allowed { ALLOW } else { NOTIFY });
        rules.extend(calls::number(name).map(|nr| (nr, rule)));
    }
    rules.sort_by_key(|(nr, _)| *nr);
    rules.dedup_by_key(|(nr, _)| *nr);
    Ok(compile(&ranges(&rules)))
}

/// A filter beside the agent's, for a program of ours that looks whether there is io_uring, and does without: it is told that there is
/// none, and nobody is told of it.
pub(crate) fn without_io_uring() -> Vec<Instruction> {
    let Some(call) = calls::number("io_uring_setup") else { return Vec::new() };
    let instruction = |code, jt, jf, k| Instruction { code, jt, jf, k };
    vec![
        instruction(LD, 0, 0, 0),
        instruction(JEQ, 0, 1, call),
        instruction(RET, 0, 0, ERRNO | libc::ENOSYS as u32),
        instruction(RET, 0, 0, ALLOW),
    ]
}

/// The calls that are known at all, by name: those of an agent, and those that are refused to it with a record. cell-init needs none
/// beside them.
///
/// # Errors
/// When the pack is not right.
pub fn calls_of_a_cell() -> Result<Vec<String>, FilterError> {
    let Lists { allow, check, record, .. } = Lists::read()?;
    Ok([allow, check, record].concat())
}

/// What refused calls are answered with.
///
/// # Errors
/// When the pack is not right.
pub(super) fn answers() -> Result<Answers, FilterError> {
    Ok(Lists::read()?.answer)
}

impl Lists {
    fn read() -> Result<Self, FilterError> {
        chaperone_packs::read(PACK).map_err(FilterError::Parse)
    }
}

impl Answers {
    pub(super) fn errno(&self, call: &str) -> i32 {
        let has = |list: &[String]| list.iter().any(|name| name == call);
        if has(&self.no_such_family) {
            libc::EAFNOSUPPORT
        } else if has(&self.no_such_call) {
            libc::ENOSYS
        } else {
            libc::EPERM
        }
    }
}

/// Runs of equal rules over all numbers: `(first number, rule)`, the last run without an end.
fn ranges(rules: &[(u32, Rule)]) -> Vec<(u32, Rule)> {
    let unknown = Rule::Return(ERRNO | libc::ENOSYS as u32);
    let mut runs: Vec<(u32, Rule)> = vec![(0, unknown)];
    let mut next = 0;
    let push = |runs: &mut Vec<(u32, Rule)>, start: u32, rule: Rule| match runs.last_mut() {
        Some(last) if last.0 == start => *last = (start, rule),
        Some(last) if last.1 == rule => {}
        _ => runs.push((start, rule)),
    };
    for (nr, rule) in rules {
        if *nr > next {
            push(&mut runs, next, unknown);
        }
        push(&mut runs, *nr, *rule);
        next = nr + 1;
    }
    push(&mut runs, next, unknown);
    runs
}

fn compile(runs: &[(u32, Rule)]) -> Vec<Instruction> {
    let mut program = vec![
        op(LD, 0, 0, 4),
        op(JEQ, 1, 0, ARCH),
        op(RET, 0, 0, KILL),
        op(LD, 0, 0, 0),
        op(JGE, 0, 1, X32),
        op(RET, 0, 0, ERRNO | libc::ENOSYS as u32),
    ];
    tree(runs, &mut program);
    program
}

/// A binary search over the runs: the right half lies behind the left one, over a long jump.
fn tree(runs: &[(u32, Rule)], out: &mut Vec<Instruction>) {
    if let [(_, rule)] = runs {
        leaf(*rule, out);
        return;
    }
    let (left, right) = runs.split_at(runs.len() / 2);
    let Some((start, _)) = right.first() else { return };
    out.push(op(JGE, 0, 1, *start));
    let jump = out.len();
    out.push(op(JA, 0, 0, 0));
    tree(left, out);
    let distance = u32::try_from(out.len() - jump - 1).unwrap_or(u32::MAX);
    if let Some(instruction) = out.get_mut(jump) {
        instruction.k = distance;
    }
    tree(right, out);
}

fn leaf(rule: Rule, out: &mut Vec<Instruction>) {
    let refuse = |errno: i32| op(RET, 0, 0, ERRNO | u32::try_from(errno).unwrap_or(1));
    let allow = op(RET, 0, 0, ALLOW);
    match rule {
        Rule::Return(value) => out.push(op(RET, 0, 0, value)),
        // Families: unix; inet and inet6 for TCP and UDP (no raw, ICMP, MPTCP; sequenced packets are SCTP); netlink route.
        Rule::Socket => out.extend([
            op(LD, 0, 0, argument(0)),
            op(JEQ, 9, 0, libc::AF_UNIX as u32),
            op(JEQ, 4, 0, libc::AF_INET as u32),
            op(JEQ, 3, 0, libc::AF_INET6 as u32),
            op(JEQ, 0, 13, libc::AF_NETLINK as u32),
            op(LD, 0, 0, argument(2)),
            op(JEQ, 12, 11, libc::NETLINK_ROUTE as u32),
            op(LD, 0, 0, argument(2)),
            op(JEQ, 5, 0, 0),
            op(JEQ, 4, 0, libc::IPPROTO_TCP as u32),
            op(JEQ, 3, 7, libc::IPPROTO_UDP as u32),
            op(LD, 0, 0, argument(1)),
            op(AND, 0, 0, 0xf),
            op(JEQ, 5, 0, libc::SOCK_SEQPACKET as u32),
            op(LD, 0, 0, argument(1)),
            op(AND, 0, 0, 0xf),
            op(JEQ, 2, 0, libc::SOCK_STREAM as u32),
            op(JEQ, 1, 0, libc::SOCK_DGRAM as u32),
            op(RET, 0, 0, NOTIFY),
            allow,
        ]),
        Rule::Clone => {
            out.extend([op(LD, 0, 0, argument(0)), op(JSET, 0, 1, CLONE_NEW), op(RET, 0, 0, NOTIFY), allow])
        }
        Rule::Ioctl => out.extend([
            op(LD, 0, 0, argument(1)),
            op(JEQ, 3, 0, 0x5412), // TIOCSTI
            op(JEQ, 2, 0, 0x541c), // TIOCLINUX
            op(JEQ, 1, 0, 0x5437), // TIOCVHANGUP
            allow,
            op(RET, 0, 0, NOTIFY),
        ]),
        // Ask, the default, and no address randomisation (debuggers, some runtimes).
        Rule::Personality => out.extend([
            op(LD, 0, 0, argument(0)),
            op(JEQ, 5, 0, 0xffff_ffff),
            op(JEQ, 4, 0, 0),
            // Where its own memory is, and what it may run of that: ADDR_NO_RANDOMIZE, READ_IMPLIES_EXEC (GCL, old Lisps), and both.
            op(JEQ, 3, 0, 0x0004_0000),
            op(JEQ, 2, 0, 0x0040_0000),
            op(JEQ, 1, 0, 0x0044_0000),
            refuse(libc::EPERM),
            allow,
        ]),
        // The kernel lets a user limit any process of theirs, and init is one.
        Rule::Process => {
            out.extend([op(LD, 0, 0, argument(0)), op(JEQ, 0, 1, INIT), op(RET, 0, 0, NOTIFY), allow])
        }
        Rule::Priority { everybody } => out.extend([
            op(LD, 0, 0, argument(0)),
            op(JEQ, 2, 0, everybody),
            op(LD, 0, 0, argument(1)),
            op(JEQ, 0, 1, INIT),
            op(RET, 0, 0, NOTIFY),
            allow,
        ]),
        // No ambient capabilities, no securebits, no keeping of capabilities, no unlocking of what is locked.
        Rule::Prctl => out.extend([
            op(LD, 0, 0, argument(0)),
            op(JEQ, 4, 0, libc::PR_SET_SECUREBITS as u32),
            op(JEQ, 3, 0, libc::PR_CAP_AMBIENT as u32),
            op(JEQ, 2, 0, libc::PR_SET_MM as u32),
            op(JEQ, 1, 0, libc::PR_SET_PTRACER as u32),
            allow,
            refuse(libc::EPERM),
        ]),
    }
}

/// Offset of the low half of an argument in `struct seccomp_data` (little-endian).
const fn argument(index: u32) -> u32 {
    16 + index * 8
}

const fn op(code: u16, jt: u8, jf: u8, k: u32) -> Instruction {
    Instruction { code, jt, jf, k }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the filter says of a call: a small interpreter of the instructions used here.
    fn judge(filter: &[Instruction], name: &str, args: [u64; 6]) -> u32 {
        run(filter, ARCH, calls::number(name).unwrap(), args)
    }

    fn run(filter: &[Instruction], arch: u32, nr: u32, args: [u64; 6]) -> u32 {
        let (mut at, mut a) = (0usize, 0u32);
        loop {
            let i = filter[at];
            at += 1;
            let mut branch = |yes: bool| at += usize::from(if yes { i.jt } else { i.jf });
            match i.code {
                LD => {
                    a = match i.k {
                        0 => nr,
                        4 => arch,
                        k => {
                            let arg = args[((k - 16) / 8) as usize];
                            if k % 8 == 0 { arg as u32 } else { (arg >> 32) as u32 }
                        }
                    }
                }
                AND => a &= i.k,
                JEQ => branch(a == i.k),
                JGE => branch(a >= i.k),
                JSET => branch(a & i.k != 0),
                JA => at += i.k as usize,
                RET => return i.k,
                other => panic!("unknown instruction {other:#x}"),
            }
        }
    }

    const ENOSYS: u32 = ERRNO | libc::ENOSYS as u32;

    #[test]
    fn every_listed_call_gets_its_verdict_and_every_other_enosys() {
        let filter = agent_filter(false).unwrap();
        assert!(filter.len() < 4096, "{} instructions", filter.len());
        let lists = Lists::read().unwrap();
        for name in &lists.allow {
            if calls::number(name).is_some() {
                assert_eq!(judge(&filter, name, [0; 6]), ALLOW, "{name}");
            }
        }
        for name in &lists.record {
            if calls::number(name).is_some() {
                assert_eq!(judge(&filter, name, [0; 6]), NOTIFY, "{name}");
            }
        }
        assert_eq!(judge(&filter, "clone3", [0; 6]), ENOSYS);
        assert_eq!(run(&filter, ARCH, 999, [0; 6]), ENOSYS);
        assert_eq!(run(&filter, ARCH, u32::MAX, [0; 6]), ENOSYS);
    }

    #[test]
    fn other_architectures_die_and_x32_calls_do_not_exist() {
        let filter = agent_filter(false).unwrap();
        assert_eq!(run(&filter, 0x4000_0003, 1, [0; 6]), KILL);
        assert_eq!(run(&filter, ARCH, X32 + 1, [0; 6]), ENOSYS);
    }

    #[test]
    fn limits_and_priorities_are_set_of_any_process_but_init() {
        let filter = agent_filter(false).unwrap();
        for name in
            ["prlimit64", "sched_setaffinity", "sched_setparam", "sched_setscheduler", "sched_setattr"]
        {
            let of = |pid: u64| judge(&filter, name, [pid, 0, 0, 0, 0, 0]);
            assert_eq!((of(1), of(0), of(2), of(4711)), (NOTIFY, ALLOW, ALLOW, ALLOW), "{name}");
        }
        for (name, process, user) in [("setpriority", 0, 2), ("ioprio_set", 1, 3)] {
            let of = |which: u64, who: u64| judge(&filter, name, [which, who, 0, 0, 0, 0]);
            assert_eq!((of(process, 0), of(process, 4711)), (ALLOW, ALLOW), "{name}");
            assert_eq!((of(process, 1), of(user, 0), of(user, 1000)), (NOTIFY, NOTIFY, NOTIFY), "{name}");
        }
    }

    #[test]
    fn sockets_are_unix_tcp_udp_and_route_netlink_only() {
        let filter = agent_filter(false).unwrap();
        let socket = |family: i32, kind: i32, protocol: i32| {
            judge(&filter, "socket", [family as u64, kind as u64, protocol as u64, 0, 0, 0])
        };
        let stream = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        for (family, kind, protocol) in [
            (libc::AF_UNIX, stream, 0),
            (libc::AF_INET, stream, 6),
            (libc::AF_INET6, libc::SOCK_DGRAM, 17),
            (libc::AF_INET, libc::SOCK_DGRAM, 0),
            (libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE),
            (libc::AF_UNIX, libc::SOCK_SEQPACKET, 0),
        ] {
            assert_eq!(socket(family, kind, protocol), ALLOW, "{family} {kind} {protocol}");
        }
        for (family, kind, protocol) in [
            (libc::AF_INET, libc::SOCK_RAW, 0),
            (libc::AF_INET, libc::SOCK_DGRAM, 1),
            (libc::AF_INET, stream, 262),
            (libc::AF_INET, libc::SOCK_SEQPACKET, 0),
            (libc::AF_INET6, libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC, 0),
            (libc::AF_INET, libc::SOCK_SEQPACKET, libc::IPPROTO_TCP),
            (libc::AF_INET, stream, libc::IPPROTO_SCTP),
            (libc::AF_INET6, libc::SOCK_DCCP, 0),
            (libc::AF_UNIX, libc::SOCK_RAW, 0),
            (libc::AF_PACKET, libc::SOCK_RAW, 0),
            (libc::AF_VSOCK, stream, 0),
            (libc::AF_ALG, libc::SOCK_SEQPACKET, 0),
            (libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_NETFILTER),
        ] {
            assert_eq!(socket(family, kind, protocol), NOTIFY, "{family} {kind} {protocol}");
        }
    }

    #[test]
    fn no_new_namespace_no_terminal_injection_no_privileged_prctl() {
        let filter = agent_filter(false).unwrap();
        for flag in [libc::CLONE_NEWUSER, libc::CLONE_NEWNS, libc::CLONE_NEWNET, libc::CLONE_NEWPID, 0x80] {
            assert_eq!(judge(&filter, "clone", [flag as u64, 0, 0, 0, 0, 0]), NOTIFY, "{flag:#x}");
        }
        assert_eq!(
            judge(&filter, "clone", [(libc::CLONE_VM | libc::CLONE_THREAD) as u64, 0, 0, 0, 0, 0]),
            ALLOW
        );
        assert_eq!(judge(&filter, "ioctl", [0, 0x5412, 0, 0, 0, 0]), NOTIFY);
        assert_eq!(judge(&filter, "ioctl", [0, 0x1_0000_5412, 0, 0, 0, 0]), NOTIFY);
        assert_eq!(judge(&filter, "ioctl", [0, 0x5413, 0, 0, 0, 0]), ALLOW);
        assert_ne!(judge(&filter, "prctl", [libc::PR_SET_SECUREBITS as u64, 0, 0, 0, 0, 0]), ALLOW);
        assert_eq!(judge(&filter, "prctl", [libc::PR_SET_NAME as u64, 0, 0, 0, 0, 0]), ALLOW);
        assert_ne!(judge(&filter, "personality", [0x0800_0000, 0, 0, 0, 0, 0]), ALLOW);
        for own in [0x0004_0000, 0x0040_0000, 0x0044_0000] {
            assert_eq!(judge(&filter, "personality", [own, 0, 0, 0, 0, 0]), ALLOW);
        }
    }

    #[test]
    fn every_name_in_the_pack_means_something() {
        let lists = Lists::read().unwrap();
        let listed = [&lists.allow, &lists.check, &lists.record];
        // The names of calls that this architecture lacks are known on x86-64, which has them all.
        for name in listed.into_iter().flatten().filter(|_| cfg!(target_arch = "x86_64")) {
            assert!(calls::number(name).is_some(), "{name}");
            assert_eq!(listed.iter().filter(|list| list.contains(name)).count(), 1, "{name}");
        }
        for name in &lists.debug {
            assert!(lists.record.contains(name), "{name}");
        }
        for name in lists.answer.no_such_family.iter().chain(&lists.answer.no_such_call) {
            assert!(lists.record.contains(name) || lists.check.contains(name), "{name}");
        }
    }

    #[test]
    fn a_refusal_looks_like_a_kernel_that_lacks_it_where_programs_can_do_without() {
        let answers = answers().unwrap();
        assert_eq!(answers.errno("socket"), libc::EAFNOSUPPORT);
        assert_eq!(answers.errno("io_uring_setup"), libc::ENOSYS);
        assert_eq!(answers.errno("mount"), libc::EPERM);
        assert_eq!(answers.errno("unknown"), libc::EPERM);
    }

    #[test]
    fn ptrace_is_for_the_debug_profile_alone() {
        assert_eq!(judge(&agent_filter(false).unwrap(), "ptrace", [0; 6]), NOTIFY);
        assert_eq!(judge(&agent_filter(true).unwrap(), "ptrace", [0; 6]), ALLOW);
    }
}
