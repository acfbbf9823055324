//! How our own processes hold themselves down: the parser worker and the vault.

use std::io;

use crate::seccomp::{Instruction, install};

/// Not dumpable, no core files, no new privileges. For every process of ours that sees secrets or content.
///
/// # Errors
/// What the kernel says.
pub fn harden() -> io::Result<()> {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: integer arguments, and a limit that lives through the call.
    unsafe {
        if libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) == -1
            || libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1
            || libc::setrlimit(libc::RLIMIT_CORE, &raw const none) == -1
        {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// What a process that parses hostile documents still may do: use the descriptors it has, and memory.
const WORKER: &[libc::c_long] = &[
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_close,
    libc::SYS_fcntl,
    libc::SYS_ftruncate,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_recvfrom,
    libc::SYS_sendto,
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_futex,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_sigaltstack,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_tgkill,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_set_robust_list,
    libc::SYS_membarrier,
];

/// What the vault may do besides: keep its files.
const VAULT: &[libc::c_long] = &[
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_rename,
    libc::SYS_unlinkat,
    libc::SYS_unlink,
    libc::SYS_mkdirat,
    libc::SYS_mkdir,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_flock,
    libc::SYS_getdents64,
    libc::SYS_linkat,
    libc::SYS_fchmod,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_open,
    libc::SYS_fallocate,
    libc::SYS_mlock,
    libc::SYS_mlock2,
    libc::SYS_munlock,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_dup,
    libc::SYS_chmod,
    libc::SYS_readlinkat,
    libc::SYS_readlink,
    libc::SYS_prlimit64,
    libc::SYS_umask,
    libc::SYS_clone3,
    libc::SYS_shutdown,
];

/// Confine a worker: anything beyond using its descriptors and memory kills it, executable memory included.
///
/// # Errors
/// What the kernel says; the caller must not go on then.
pub fn confine_worker() -> io::Result<()> {
    harden()?;
    install(&allow_list(&[WORKER]), false).map(|_| ())
}

/// Confine the vault: its files and its one socket; no new socket, no other program, no tracing.
///
/// # Errors
/// What the kernel says; the caller must not go on then.
pub fn confine_vault() -> io::Result<()> {
    harden()?;
    install(&allow_list(&[WORKER, VAULT]), false).map(|_| ())
}

fn allow_list(lists: &[&[libc::c_long]]) -> Vec<Instruction> {
    const LD_ABS: u16 = 0x20;
    const JEQ: u16 = 0x15;
    const JSET: u16 = 0x45;
    const JGE: u16 = 0x35;
    const RET: u16 = 0x06;
    const ALLOW: u32 = 0x7fff_0000;
    const KILL: u32 = 0x8000_0000;
    const ENOSYS: u32 = 0x0005_0000 | libc::ENOSYS as u32;
    let op = |code, jt, jf, k| Instruction { code, jt, jf, k };
    #[cfg(target_arch = "x86_64")]
    const ARCH: u32 = 0xc000_003e;
    #[cfg(target_arch = "aarch64")]
    const ARCH: u32 = 0xc000_00b7;
    let number = |nr: libc::c_long| u32::try_from(nr).unwrap_or(u32::MAX);
    let mut program = vec![
        op(LD_ABS, 0, 0, 4),
        op(JEQ, 1, 0, ARCH),
        op(RET, 0, 0, KILL),
        op(LD_ABS, 0, 0, 0),
        // x32 calls.
        op(JGE, 0, 1, 0x4000_0000),
        op(RET, 0, 0, KILL),
        // No memory becomes executable.
        op(JEQ, 1, 0, number(libc::SYS_mmap)),
        op(JEQ, 0, 4, number(libc::SYS_mprotect)),
        op(LD_ABS, 0, 0, 32),
        op(JSET, 0, 1, 4),
        op(RET, 0, 0, KILL),
        op(RET, 0, 0, ALLOW),
        // clone3 answers ENOSYS as everywhere; nothing here starts a process.
        op(JEQ, 0, 1, number(libc::SYS_clone3)),
        op(RET, 0, 0, ENOSYS),
    ];
    for nr in lists.iter().flat_map(|l| l.iter()) {
        program.push(op(JEQ, 0, 1, number(*nr)));
        program.push(op(RET, 0, 0, ALLOW));
    }
    program.push(op(RET, 0, 0, KILL));
    program
}
