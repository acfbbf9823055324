//! The cell as it is launched, seen from inside and from outside, through the example `bare`.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr
)]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::{bare, can_launch, err, out, program};

/// Longest that anything here may take on a slow machine. Beyond it the test fails instead of hanging.
const LIMIT: Duration = Duration::from_secs(30);

/// What makes the cells of the tests: `CELL_BACKEND`, or the native backend.
fn backend() -> String {
    std::env::var("CELL_BACKEND").unwrap_or("native".to_owned())
}

fn run(command: &[&str]) -> Output {
    Command::new(bare()).args(command).stdin(Stdio::null()).output().unwrap()
}

fn sh(script: &str) -> Output {
    run(&["sh", "-c", script])
}

/// The exit that the cell reported.
fn reported(output: &Output) -> serde_json::Value {
    let text = err(output);
    let line = text.lines().rfind(|l| l.starts_with("{\"cause\"")).expect("an exit was reported");
    serde_json::from_str(line).unwrap()
}

/// A Python program in the cell, which refuses by errno: `call(number, …)` prints it.
fn python(code: &str) -> Option<Output> {
    if !program("python3") {
        println!("SKIPPED: /usr/bin/python3 is missing");
        assert!(std::env::var("CI").as_deref() != Ok("true"), "python3 is missing");
        return None;
    }
    let head = "import ctypes, os, sys\nlibc = ctypes.CDLL(None, use_errno=True)\n\
                def call(n, *a):\n    r = libc.syscall(ctypes.c_long(n), *[ctypes.c_long(x) for x in a])\n    return ctypes.get_errno() if r == -1 else 0\n";
    Some(run(&["/usr/bin/python3", "-c", &format!("{head}{code}")]))
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < LIMIT, "{what} did not come about");
        std::thread::yield_now();
    }
}

/// Host processes whose command line holds a word.
fn processes_with(word: &str) -> Vec<i32> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<i32>().ok()) else { continue };
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&line).split('\0').any(|a| a == word) {
            found.push(pid);
        }
    }
    found
}

struct Running {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

/// A cell that runs on; `environment` are the limits of `bare`.
fn start(script: &str, environment: &[(&str, &str)]) -> Running {
    let mut child = Command::new(bare())
        .args(["sh", "-c", script])
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    Running { child, lines }
}

impl Running {
    fn line(&mut self) -> String {
        self.lines.next().expect("a line").unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn every_namespace_is_the_cells_own() {
    if !can_launch("every_namespace_is_the_cells_own") {
        return;
    }
    for kind in ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"] {
        let inside = out(&run(&["readlink", &format!("/proc/self/ns/{kind}")]));
        let outside = std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        assert!(inside.starts_with(kind), "{kind}: {inside}");
        assert_ne!(Path::new(&inside), outside, "{kind}");
    }
}

#[test]
fn the_agent_has_no_privilege_and_gets_none() {
    if !can_launch("the_agent_has_no_privilege_and_gets_none") {
        return;
    }
    let status = out(&run(&["cat", "/proc/self/status"]));
    let field = |name: &str| {
        let line = status.lines().find(|l| l.starts_with(name)).unwrap_or_default();
        line.split_once(':').map(|(_, v)| v.trim().to_owned()).unwrap_or_default()
    };
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(field(set), "0000000000000000", "{set}");
    }
    assert_eq!(field("NoNewPrivs"), "1");
    assert_eq!(field("Seccomp"), "2");
    assert_eq!(field("Uid"), "1000\t1000\t1000\t1000");
    // An ordinary user may not drop groups; in the cell they are the agent's own or nobody's.
    for group in field("Groups").split_whitespace() {
        assert!(["1000", "65534"].contains(&group), "{group}");
    }
}

#[test]
fn a_cell_is_made_alike_under_every_umask_and_its_agent_has_the_plans() {
    if !can_launch("a_cell_is_made_alike_under_every_umask_and_its_agent_has_the_plans") {
        return;
    }
    let look =
        "umask; find / -xdev -maxdepth 2 ! -path '/proc/*' ! -path '/usr/*' -printf '%M %u %p\\n' | sort";
    let seen = |umask: &str| {
        let script = format!("umask {umask}; export CELL_UMASK={umask}; exec \"$@\"");
        let cell = ["-c", &script, "sh", bare().to_str().unwrap(), "sh", "-c", look].map(str::to_owned);
        let told = out(&Command::new("sh").args(cell).stdin(Stdio::null()).output().unwrap());
        let (first, rest) = told.split_once('\n').unwrap_or_default();
        (first.to_owned(), rest.to_owned())
    };
    let (usual, made) = seen("0022");
    assert!(usual == "0022" && made.contains("/home/agent"), "{usual} {made}");
    for umask in ["0077", "0002", "0000", "0777"] {
        assert_eq!(seen(umask), (umask.to_owned(), made.clone()), "{umask}");
    }
}

#[test]
fn the_root_holds_nothing_of_the_persons() {
    if !can_launch("the_root_holds_nothing_of_the_persons") {
        return;
    }
    let home = tempfile::tempdir_in("/var/tmp").unwrap();
    std::fs::write(home.path().join("secret"), "canary").unwrap();
    let done = sh(&format!(
        "cat {0}/secret /proc/1/root{0}/secret /proc/self/root{0}/secret; ls -A /root /sys /home /media /mnt /srv 2>&1; ls -A ~",
        home.path().display()
    ));
    assert!(!out(&done).contains("canary"));
    let home = out(&sh("ls /home"));
    assert_eq!(home, "agent");
    assert_ne!(out(&sh("ls -d /sys /root /boot 2>/dev/null")), "/sys");
    // Keys of the machine, also where root looks.
    assert_eq!(out(&sh("find /etc/ssl/private /etc/pki/tls/private -type f 2>/dev/null")), "");
}

#[test]
fn proc_says_nothing_of_the_host() {
    if !can_launch("proc_says_nothing_of_the_host") {
        return;
    }
    // How the user started it, and where from.
    let marked = Command::new(bare())
        .args(["sh", "-c", "tr '\\0' '|' < /proc/1/cmdline; echo; cat /proc/1/comm; : a-word-of-the-command"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(out(&marked).trim_start().starts_with("cell-init|"), "{}", out(&marked));
    assert!(
        !out(&marked).contains("a-word-of-the-command") && !out(&marked).contains("bare"),
        "{}",
        out(&marked)
    );
    for hidden in
        ["cmdline", "keys", "key-users", "locks", "modules", "partitions", "diskstats", "interrupts", "swaps"]
    {
        let path = format!("/proc/{hidden}");
        if Path::new(&path).exists() {
            assert_eq!(out(&run(&["cat", &path])), "", "{hidden}");
        }
    }
    for hidden in ["bus", "driver", "fs", "irq", "tty", "sys/dev"] {
        assert_eq!(out(&run(&["ls", "-A", &format!("/proc/{hidden}")])), "", "{hidden}");
    }
    let boot = "/proc/sys/kernel/random/boot_id";
    let inside = out(&run(&["cat", boot]));
    assert_ne!(inside.trim(), std::fs::read_to_string(boot).unwrap().trim());
    // A container's runtime lays nothing but an empty file over it.
    assert!(inside.len() >= 36 || (backend() == "container" && inside.is_empty()), "{inside}");
    // What programs go by stays.
    for needed in [
        "cpuinfo",
        "meminfo",
        "stat",
        "uptime",
        "loadavg",
        "version",
        "self/mountinfo",
        "sys/kernel/random/uuid",
    ] {
        assert_ne!(out(&run(&["head", "-c", "20", &format!("/proc/{needed}")])), "", "{needed}");
    }
}

#[test]
fn what_must_not_be_seen_is_covered_in_what_every_cell_shows() {
    let name = "what_must_not_be_seen_is_covered_in_what_every_cell_shows";
    if !can_launch(name) {
        return;
    }
    let list = |covered: Option<&str>| {
        let mut bare = Command::new(bare());
        bare.args(["/bin/sh", "-c", "ls -A /usr/share/dict /usr/share/doc | wc -l; ls /usr/lib | wc -l"]);
        covered.map(|c| bare.env("CELL_COVERED", c));
        let said = bare.stdin(Stdio::null()).output().unwrap();
        out(&said).lines().map(|l| l.trim().parse::<u32>().unwrap()).collect::<Vec<_>>()
    };
    let (open, covered) = (list(None), list(Some("/usr/share/doc")));
    assert!(open[0] > covered[0] + 10, "{open:?} {covered:?}");
    assert_eq!(open[1], covered[1]);
}

#[test]
fn a_file_that_must_not_be_seen_is_what_its_reader_takes_for_nothing() {
    let name = "a_file_that_must_not_be_seen_is_what_its_reader_takes_for_nothing";
    if !can_launch(name) {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    for (file, stands) in [("npmrc", ""), ("settings.xml", "<settings/>"), ("auth.json", "{}")] {
        let at = place.path().join(file);
        std::fs::write(&at, "token").unwrap();
        let read = |covered: bool| {
            let mut bare = Command::new(bare());
            bare.env("CELL_SHOW", place.path()).args(["/bin/cat", at.to_str().unwrap()]);
            if covered {
                bare.env("CELL_COVERED", &at);
            }
            out(&bare.stdin(Stdio::null()).output().unwrap())
        };
        assert_eq!([read(false), read(true)], ["token", stands]);
    }
}

#[test]
fn the_system_is_read_only_and_the_home_is_not() {
    if !can_launch("the_system_is_read_only_and_the_home_is_not") {
        return;
    }
    for place in ["/", "/usr", "/etc", "/usr/bin", "/run", "/run/chaperone", "/home", "/var"] {
        let done = sh(&format!("echo x > {place}/written-by-agent"));
        assert_ne!(done.status.code(), Some(0), "{place}");
    }
    for place in ["~", "/tmp", "/var/tmp", "/dev/shm"] {
        let done = sh(&format!("echo x > {place}/written-by-agent && cat {place}/written-by-agent"));
        assert_eq!(out(&done), "x", "{place}: {}", err(&done));
    }
}

#[test]
fn nothing_of_one_cell_is_left_for_the_next() {
    if !can_launch("nothing_of_one_cell_is_left_for_the_next") {
        return;
    }
    assert_eq!(out(&sh("echo x > ~/kept; echo x > /tmp/kept; echo done")), "done");
    assert_eq!(out(&sh("ls -A /tmp; ls ~")), "");
}

#[test]
fn the_only_network_is_a_loopback() {
    if !can_launch("the_only_network_is_a_loopback") {
        return;
    }
    assert_eq!(out(&sh("tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '")), "lo");
    let Some(done) = python(
        "import socket\ntry:\n    socket.create_connection(('203.0.113.9', 80), 2); print('out')\nexcept OSError as e:\n    print('refused', e.errno)",
    ) else {
        return;
    };
    assert_eq!(out(&done), format!("refused {}", libc::ENETUNREACH));
    let Some(done) = python(
        "import socket\ns = socket.create_server(('127.0.0.1', 0)); c = socket.create_connection(s.getsockname(), 2); print('inside')",
    ) else {
        return;
    };
    assert_eq!(out(&done), "inside", "{}", err(&done));
}

#[test]
fn only_standard_descriptors_reach_the_agent() {
    if !can_launch("only_standard_descriptors_reach_the_agent") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = std::fs::File::create(dir.path().join("open")).unwrap();
    rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty()).unwrap();
    // `ls` itself opens the directory as 3.
    assert_eq!(out(&run(&["ls", "/proc/self/fd"])), "0\n1\n2\n3");
}

#[test]
fn nothing_of_the_environment_is_inherited() {
    if !can_launch("nothing_of_the_environment_is_inherited") {
        return;
    }
    let done = Command::new(bare()).arg("env").env("SECRET_TOKEN", "canary").output().unwrap();
    assert!(out(&done).contains("HOME=/home/agent"));
    assert!(!out(&done).contains("canary"));
}

#[cfg(target_arch = "x86_64")]
#[test]
fn dangerous_calls_are_refused_and_told() {
    if !can_launch("dangerous_calls_are_refused_and_told") {
        return;
    }
    let (eperm, enosys, family) = (libc::EPERM, libc::ENOSYS, libc::EAFNOSUPPORT);
    let calls: &[(&str, i64, &str, i32)] = &[
        ("mount", libc::SYS_mount, "0, 0, 0, 0, 0", eperm),
        ("unshare", libc::SYS_unshare, "0x10000000", eperm),
        ("setns", libc::SYS_setns, "0, 0", eperm),
        ("ptrace", libc::SYS_ptrace, "0, 0, 0, 0", eperm),
        ("process_vm_readv", libc::SYS_process_vm_readv, "1, 0, 0, 0, 0, 0", eperm),
        ("keyctl", libc::SYS_keyctl, "0, 0, 0", eperm),
        ("add_key", libc::SYS_add_key, "0, 0, 0, 0, 0", eperm),
        ("bpf", libc::SYS_bpf, "0, 0, 0", enosys),
        ("perf_event_open", libc::SYS_perf_event_open, "0, 0, 0, 0, 0", eperm),
        ("userfaultfd", libc::SYS_userfaultfd, "0", enosys),
        ("io_uring_setup", libc::SYS_io_uring_setup, "1, 0", enosys),
        ("init_module", libc::SYS_init_module, "0, 0, 0", eperm),
        ("kexec_load", libc::SYS_kexec_load, "0, 0, 0, 0", eperm),
        ("open_by_handle_at", libc::SYS_open_by_handle_at, "0, 0, 0", eperm),
        ("clock_settime", libc::SYS_clock_settime, "0, 0", eperm),
        ("clone", libc::SYS_clone, "0x10000011, 0, 0, 0, 0", eperm),
        ("ioctl", libc::SYS_ioctl, "0, 0x5412, 0", eperm),
        ("prlimit64", libc::SYS_prlimit64, "1, 7, 0, 0", eperm),
        ("sched_setaffinity", libc::SYS_sched_setaffinity, "1, 0, 0", eperm),
        ("setpriority", libc::SYS_setpriority, "0, 1, 19", eperm),
        ("setpriority", libc::SYS_setpriority, "2, 0, 19", eperm),
        ("ioprio_set", libc::SYS_ioprio_set, "1, 1, 0x6000", eperm),
        ("socket", libc::SYS_socket, "17, 3, 0", family),
        ("socket", libc::SYS_socket, "2, 3, 1", family),
        ("socket", libc::SYS_socket, "2, 1, 262", family),
        ("socket", libc::SYS_socket, "2, 5, 0", family),
        ("socket", libc::SYS_socket, "10, 5, 0", family),
        ("socket", libc::SYS_socket, "40, 1, 0", family),
    ];
    let code: String = calls.iter().map(|(_, nr, args, _)| format!("print(call({nr}, {args}))\n")).collect();
    let Some(done) = python(&code) else { return };
    let answers: Vec<String> = out(&done).lines().map(str::to_owned).collect();
    for ((name, _, _, errno), answer) in calls.iter().zip(&answers) {
        assert_eq!(answer, &errno.to_string(), "{name}");
        assert!(err(&done).contains(&format!("{{\"refused\":\"{name}\"}}")), "{name} was not told");
    }
    assert_eq!(answers.len(), calls.len(), "{}", err(&done));
}

#[test]
fn a_program_limits_itself_and_its_own_but_not_init() {
    if !can_launch("a_program_limits_itself_and_its_own_but_not_init") {
        return;
    }
    let code = "import os, resource\n\
        of = lambda pid: resource.prlimit(pid, resource.RLIMIT_NOFILE)\n\
        child = os.fork()\n\
        if child == 0: os.read(os.pipe()[0], 1)\n\
        for pid in (0, os.getpid(), child):\n    \
            soft, hard = of(pid)\n    \
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft - 1, hard))\n    \
            print(soft - of(pid)[0])\n\
        os.nice(1)\n\
        os.sched_setaffinity(child, os.sched_getaffinity(0))\n\
        try: resource.prlimit(1, resource.RLIMIT_NOFILE, (0, 0))\n\
        except PermissionError: print('refused')\n\
        os.kill(child, 9)\n";
    let Some(done) = python(code) else { return };
    assert_eq!(out(&done), "1\n1\n1\nrefused", "{}", err(&done));
}

#[cfg(target_arch = "x86_64")]
#[test]
fn unknown_calls_and_clone3_do_not_exist() {
    if !can_launch("unknown_calls_and_clone3_do_not_exist") {
        return;
    }
    let Some(done) = python(
        "print(call(435, 0, 0), call(9999), call(0x40000000 + 39), call(0x40000000 + 101, 0, 0, 0, 0))",
    ) else {
        return;
    };
    let enosys = libc::ENOSYS.to_string();
    assert_eq!(out(&done).split_whitespace().collect::<Vec<_>>(), vec![&*enosys; 4], "{}", err(&done));
}

#[test]
fn ptrace_is_there_with_debug_alone() {
    if !can_launch("ptrace_is_there_with_debug_alone") || !program("strace") {
        println!("SKIPPED ptrace_is_there_with_debug_alone: strace is missing");
        return;
    }
    let trace = |debug: bool| {
        let mut command = Command::new(bare());
        if debug {
            command.env("CELL_DEBUG", "1");
        }
        command.args(["strace", "-f", "-o", "/tmp/trace", "true"]).output().unwrap()
    };
    assert_eq!(trace(true).status.code(), Some(0));
    assert_ne!(trace(false).status.code(), Some(0));
}

#[test]
fn abstract_sockets_of_outside_are_out_of_reach() {
    use std::os::linux::net::SocketAddrExt;
    if !can_launch("abstract_sockets_of_outside_are_out_of_reach") {
        return;
    }
    let name = format!("chaperone-test-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind_addr(&address).unwrap();
    let Some(done) = python(&format!(
        "import socket\ns = socket.socket(socket.AF_UNIX)\ntry:\n    s.connect('\\0{name}'); print('in')\nexcept OSError as e:\n    print('refused')"
    )) else {
        return;
    };
    assert_eq!(out(&done), "refused");
}

#[test]
fn landlock_keeps_signals_within_the_agents_own_processes() {
    let name = "landlock_keeps_signals_within_the_agents_own_processes";
    if !can_launch(name) {
        return;
    }
    let code = "import signal, subprocess\nprint(libc.syscall(444, 0, 0, 1))\n\
                def signalled(pid):\n    try:\n        os.kill(pid, 0); return 'reached'\n    except OSError as e:\n        return 'refused'\n\
                child = subprocess.Popen(['sleep', '60'])\nprint(signalled(1), signalled(child.pid))\nchild.kill()";
    let Some(done) = python(code) else { return };
    let text = out(&done);
    let abi: i32 = text.lines().next().unwrap_or_default().parse().unwrap_or(0);
    if abi < 6 {
        println!("SKIPPED {name}: this kernel's Landlock has ABI {abi}, scopes came with 6");
        return;
    }
    // PID 1 has the agent's own uid; only the scope of the rules keeps it out of reach.
    assert_eq!(text.lines().last(), Some("refused reached"), "{text} {}", err(&done));
}

#[test]
fn a_touched_decoy_is_told_with_its_technique() {
    if !can_launch("a_touched_decoy_is_told_with_its_technique") {
        return;
    }
    let done = sh("cat ~/.ssh/id_ed25519 ~/.aws/credentials /etc/shadow");
    let told = err(&done);
    for (path, technique) in [
        ("/home/agent/.ssh/id_ed25519", "T1552.004"),
        ("/home/agent/.aws/credentials", "T1552.001"),
        ("/etc/shadow", "T1003.008"),
    ] {
        assert!(
            told.lines().any(|l| l.contains("decoy") && l.contains(path) && l.contains(technique)),
            "{path}: {told}"
        );
    }
}

#[test]
fn connecting_to_a_decoy_socket_is_told_and_answered_by_nobody() {
    if !can_launch("connecting_to_a_decoy_socket_is_told_and_answered_by_nobody") {
        return;
    }
    let Some(done) = python(
        "import socket\ns = socket.socket(socket.AF_UNIX); s.settimeout(5); s.connect('/var/run/docker.sock'); print(s.recv(10))",
    ) else {
        return;
    };
    assert_eq!(out(&done), "b''", "{}", err(&done));
    assert!(
        err(&done)
            .lines()
            .any(|l| l.contains("decoy") && l.contains("/run/docker.sock") && l.contains("T1610")),
        "{}",
        err(&done)
    );
}

#[test]
fn an_ordinary_program_touches_no_decoy_and_is_refused_nothing() {
    if !can_launch("an_ordinary_program_touches_no_decoy_and_is_refused_nothing") {
        return;
    }
    for script in [
        "ls -la ~ /tmp /etc >/dev/null; echo $HOME",
        "python3 -c 'import json, subprocess; subprocess.run([\"true\"])'",
        "bash -lc true",
        "git --version; git config --list",
    ] {
        let told = err(&sh(script));
        assert!(!told.contains("\"decoy\"") && !told.contains("\"refused\""), "{script}: {told}");
    }
}

#[test]
fn exit_codes_and_signals_come_through() {
    if !can_launch("exit_codes_and_signals_come_through") {
        return;
    }
    for code in [0, 1, 7, 125, 126, 255] {
        let done = sh(&format!("exit {code}"));
        assert_eq!((done.status.code(), &reported(&done)["cause"]), (Some(code), &"exit".into()));
    }
    let done = sh("kill -SEGV $$");
    assert_eq!(done.status.code(), Some(128 + libc::SIGSEGV));
    assert_eq!(reported(&done)["cause"], "signal");
}

#[test]
fn a_missing_program_is_told_apart_from_one_that_cannot_run() {
    if !can_launch("a_missing_program_is_told_apart_from_one_that_cannot_run") {
        return;
    }
    let missing = run(&["/usr/bin/there-is-no-such-program"]);
    assert_eq!((missing.status.code(), reported(&missing)["cause"].clone()), (Some(127), "not_found".into()));
    let directory = run(&["/usr"]);
    assert_eq!((directory.status.code(), reported(&directory)["cause"].clone()), (Some(126), "setup".into()));
}

#[test]
fn orphans_are_reaped_and_end_with_the_agent() {
    if !can_launch("orphans_are_reaped_and_end_with_the_agent") {
        return;
    }
    // The grandchild's parent is gone at once; PID 1 takes it and reaps it.
    let script = "(sh -c 'exit 0' & echo $! > /tmp/pid); pid=$(cat /tmp/pid); while [ -e /proc/$pid ]; do :; done; echo reaped";
    assert_eq!(out(&sh(script)), "reaped");
    let word = format!("60{}", std::process::id());
    let done = sh(&format!("setsid sleep {word} >/dev/null 2>&1 </dev/null & exit 3"));
    assert_eq!(done.status.code(), Some(3));
    until("the end of the orphan", || processes_with(&word).is_empty());
}

#[test]
fn the_death_of_the_launcher_ends_the_cell() {
    if !can_launch("the_death_of_the_launcher_ends_the_cell") {
        return;
    }
    let word = format!("61{}", std::process::id());
    let mut cell = start(&format!("echo ready; sleep {word}; echo over"), &[]);
    assert_eq!(cell.line(), "ready");
    until("the sleeper", || !processes_with(&word).is_empty());
    cell.child.kill().unwrap();
    cell.child.wait().unwrap();
    until("the end of the cell", || processes_with(&word).is_empty());
}

#[test]
fn the_death_of_the_broker_ends_the_cell() {
    if !can_launch("the_death_of_the_broker_ends_the_cell") {
        return;
    }
    let done = Command::new(bare()).args(["sleep", "3600"]).env("CELL_HANG_UP", "1").output().unwrap();
    assert_eq!(reported(&done)["cause"], "broker");
}

#[test]
fn the_time_limit_ends_the_cell() {
    if !can_launch("the_time_limit_ends_the_cell") {
        return;
    }
    let done = Command::new(bare()).args(["sleep", "3600"]).env("CELL_SECONDS", "1").output().unwrap();
    assert_eq!((done.status.code(), reported(&done)["cause"].clone()), (Some(137), "time".into()));
}

#[test]
fn the_memory_limit_ends_what_is_over_it_and_nothing_else() {
    if !can_launch("the_memory_limit_ends_what_is_over_it_and_nothing_else") || !program("python3") {
        return;
    }
    let limited = |code: &str| {
        let mut command = Command::new(bare());
        command.args(["/usr/bin/python3", "-c", code]).env("CELL_MEMORY", (128u64 << 20).to_string());
        command.output().unwrap()
    };
    let small = limited("x = bytearray(16 << 20); print(len(x))");
    assert_eq!(out(&small), (16u64 << 20).to_string(), "{}", err(&small));
    let large = limited(
        "x = []\nwhile True:\n    x.append(bytearray(4 << 20)); x[-1][::4096] = b'1' * len(x[-1][::4096])",
    );
    assert_eq!((large.status.code(), reported(&large)["cause"].clone()), (Some(137), "memory".into()));
    let fill = "\ntry:\n    while True: f.write(b'1' * (4 << 20))\nexcept OSError: time.sleep(60)";
    for hidden in [
        format!("import time; f = open('/tmp/a', 'wb', 0){fill}"),
        "import time\nfs = [open(d + '/a', 'wb', 0) for d in ('/tmp', '/var/tmp', '/dev/shm', '/home/agent')]
for f in fs: f.write(b'1' * (40 << 20))\ntime.sleep(60)"
            .to_owned(),
        format!("import os, time; f = os.fdopen(os.memfd_create('a'), 'wb', 0){fill}"),
        "import ctypes, time; c = ctypes.CDLL(None); c.shmat.restype = ctypes.c_void_p
for i in range(8): ctypes.memset(ctypes.c_void_p(c.shmat(c.shmget(0, 32 << 20, 0o1600), 0, 0)), 1, 32 << 20)
time.sleep(60)"
            .to_owned(),
    ] {
        let ended = limited(&hidden);
        // A group of the kernel's ends the process, which counts; or its directory holds no more.
        assert_eq!(ended.status.code(), Some(137), "{hidden}: {}", err(&ended));
    }
}

#[test]
fn the_limit_on_processes_stops_a_fork_bomb() {
    if !can_launch("the_limit_on_processes_stops_a_fork_bomb") {
        return;
    }
    // Long enough that a watcher looks, short enough that a bomb without a limit is a failure and no hang.
    let word = format!("20.62{}", std::process::id());
    let script = format!("n=0; while [ $n -lt 200 ]; do sleep {word} & n=$((n+1)); done; wait");
    let done = Command::new(bare()).args(["sh", "-c", &script]).env("CELL_PROCESSES", "24").output().unwrap();
    until("the end of the bomb", || processes_with(&word).is_empty());
    // A group refuses the fork; a watched sum ends the cell.
    let watched = reported(&done)["cause"] == "processes";
    let refused = err(&done).to_lowercase().contains("fork");
    assert!(watched || refused, "{} {}", out(&done), err(&done));
}

#[test]
fn the_agent_cannot_end_or_look_into_pid_1() {
    if !can_launch("the_agent_cannot_end_or_look_into_pid_1") {
        return;
    }
    let done = sh(
        "kill -9 1; kill -STOP 1; kill -TERM 1; cat /proc/1/environ /proc/1/maps; ls -l /proc/1/fd; readlink /proc/1/exe; echo on",
    );
    assert_eq!(out(&done).lines().last(), Some("on"), "{}", err(&done));
    assert_eq!(out(&done).lines().count(), 1, "{}", out(&done));
}

#[test]
fn the_cell_ends_with_a_launcher_that_a_signal_ends() {
    if !can_launch("the_cell_ends_with_a_launcher_that_a_signal_ends") {
        return;
    }
    let word = format!("63{}", std::process::id());
    let mut cell = start(&format!("echo ready; read answer; echo $answer; exec sleep {word}"), &[]);
    assert_eq!(cell.line(), "ready");
    cell.child.stdin.as_mut().unwrap().write_all(b"standard input comes through\n").unwrap();
    assert_eq!(cell.line(), "standard input comes through");
    until("the sleeper", || !processes_with(&word).is_empty());
    let pid = rustix::process::Pid::from_raw(i32::try_from(cell.child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    until("the end of the cell", || processes_with(&word).is_empty());
}

#[test]
fn no_terminal_of_the_persons_reaches_the_agent() {
    if !can_launch("no_terminal_of_the_persons_reaches_the_agent") || !program("script") {
        println!("SKIPPED no_terminal_of_the_persons_reaches_the_agent: script is missing");
        return;
    }
    let inner =
        format!("{} sh -c 'test -t 0 || test -t 1 || echo none; ls -l /proc/self/fd/0'", bare().display());
    let done =
        Command::new("script").args(["-qec", &inner, "/dev/null"]).stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&done.stdout);
    assert!(!text.contains("/dev/pts/"), "{text}");
}

#[test]
fn an_agent_has_a_share_of_what_the_kernel_counts_for_the_user() {
    let code = "
import json, resource
def many(make):
    n = 0
    while n < 5000:
        try: make()
        except OSError: break
        n += 1
    return n
def inotify():
    if libc.inotify_init1(0) < 0: raise OSError(ctypes.get_errno(), 'inotify')
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
print(json.dumps({
    'inotify': many(inotify),
    'terminals': many(lambda: os.open('/dev/ptmx', os.O_RDWR | os.O_NOCTTY)),
    'descriptors': resource.getrlimit(resource.RLIMIT_NOFILE)[1],
    'signals': resource.getrlimit(resource.RLIMIT_SIGPENDING)[1],
}))
";
    let Some(output) = python(code) else { return };
    let share: serde_json::Value =
        serde_json::from_str(&out(&output)).unwrap_or_else(|_| panic!("{}", err(&output)));
    let of = |name: &str| share[name].as_u64().unwrap();
    let users = |path: &str| std::fs::read_to_string(path).unwrap().trim().parse::<u64>().unwrap();
    // A program can do with that many, and four such cells leave the user some.
    let instances = users("/proc/sys/fs/inotify/max_user_instances");
    assert!((8..=instances / 4).contains(&of("inotify")), "{share}");
    assert!((32..=64).contains(&of("terminals")), "{share}");
    let limit = |resource| rustix::process::getrlimit(resource).maximum.unwrap_or(u64::MAX);
    assert!(of("descriptors") < limit(rustix::process::Resource::Nofile), "{share}");
    assert!(of("descriptors") >= 4096.min(limit(rustix::process::Resource::Nofile) - 1), "{share}");
    assert!(of("signals") <= limit(rustix::process::Resource::Sigpending) / 4, "{share}");
}
