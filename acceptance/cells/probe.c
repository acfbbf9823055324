// Makes calls that a cell refuses, and some that it allows, and prints how each ended: the name and the errno, or 0. `probe reach PORT`
// only connects.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void say(const char *name, long result) {
    printf("%s %d\n", name, result < 0 ? errno : 0);
    fflush(stdout);
}

// In a process of its own: what it changes stays there.
#define APART(name, call)                                                                                                         \
    do {                                                                                                                           \
        pid_t child = fork();                                                                                                      \
        if (child == 0) {                                                                                                          \
            long result = (call);                                                                                                  \
            say(name, result);                                                                                                     \
            _exit(0);                                                                                                              \
        }                                                                                                                          \
        int status;                                                                                                                \
        if (child > 0 && waitpid(child, &status, 0) == child && WIFSIGNALED(status)) printf("%s signal\n", name), fflush(stdout);  \
    } while (0)

static long with_namespace(long flags) {
    long child = syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);
    if (child == 0) _exit(0);
    if (child > 0) waitpid(child, 0, 0);
    return child;
}

// Whether somebody answers at a port of loopback.
static int reach(const char *port) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(port)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return connect(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&to, sizeof to) != 0;
}

int main(int count, char **words) {
    if (count == 3 && !strcmp(words[1], "reach")) return reach(words[2]);
    char params[128] = {0};
    APART("unshare", syscall(SYS_unshare, CLONE_NEWUSER));
    APART("unshare_net", syscall(SYS_unshare, CLONE_NEWNET));
    APART("clone_user", with_namespace(CLONE_NEWUSER));
    APART("mount", syscall(SYS_mount, "none", "/scratch", "tmpfs", 0, 0));
    APART("ptrace", syscall(SYS_ptrace, 0, 0, 0, 0));
    APART("keyctl", syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0, 0));
    APART("add_key", syscall(SYS_add_key, "user", "probe", "x", 1, KEY_SPEC_PROCESS_KEYRING));
    APART("io_uring_setup", syscall(SYS_io_uring_setup, 1, params));
    APART("setns", syscall(SYS_setns, open("/proc/self/ns/uts", O_RDONLY), 0));
    APART("chroot", syscall(SYS_chroot, "/"));
    APART("process_vm_readv", syscall(SYS_process_vm_readv, getpid(), 0, 0, 0, 0, 0));
    APART("personality_legacy", syscall(SYS_personality, 0x8000000));
    APART("keepcaps_ambient", syscall(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0));
    APART("socket_netlink_audit", syscall(SYS_socket, AF_NETLINK, SOCK_RAW, 9));
    APART("socket_alg", syscall(SYS_socket, AF_ALG, SOCK_SEQPACKET, 0));
    APART("socket_packet", syscall(SYS_socket, AF_PACKET, SOCK_RAW, 0));
    APART("socket_raw", syscall(SYS_socket, AF_INET, SOCK_RAW, 1));
    // The kernel looks at the lower half of the number alone. On no terminal it says so: 25.
    APART("ioctl_sti", syscall(SYS_ioctl, 0, 0x5412, "x"));
    APART("ioctl_sti_high", syscall(SYS_ioctl, 0, 0x100005412UL, "x"));

    APART("allow_inet", syscall(SYS_socket, AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    APART("allow_udp6", syscall(SYS_socket, AF_INET6, SOCK_DGRAM, 17));
    APART("allow_route", syscall(SYS_socket, AF_NETLINK, SOCK_RAW, 0));
    int pair[2];
    APART("allow_pair", syscall(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, pair));
    APART("allow_exec_memory", (long)mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == -1 ? -1 : 0);
    APART("allow_no_randomize", syscall(SYS_personality, ADDR_NO_RANDOMIZE));
    APART("allow_name", syscall(SYS_prctl, PR_SET_NAME, "probe", 0, 0, 0));
    APART("allow_size", fcntl(1, F_GETFL) < 0 ? -1 : 0);
    APART("allow_limits", syscall(SYS_prlimit64, 0, 7, 0, params));
    return 0;
}
