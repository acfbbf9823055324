//! Every `unsafe` block and raw system call of Chaperone, behind safe names. Each block says why it is sound.
//!
//! What `rustix` offers safely is not repeated here.
#![allow(unsafe_code)]

mod confine;
mod inherited;
pub mod landlock;
mod lease;
mod mount;
mod process;
pub mod seccomp;
mod terminal;

pub use confine::{confine_vault, confine_worker, harden};
pub use inherited::{forget_arguments, leave_keyring};
pub use lease::is_written_by_nobody;
pub use mount::{ReadOnly, set_mount_attributes};
pub use process::{
    Forked, bring_up_loopback, clear_capabilities, clone_as_first_process, clone_into_namespaces,
    close_all_but_stdio, cycles, die_with_parent, enter_user_namespace, exec, exit_now, fork,
    give_memory_back, keep_no_privileges, keep_setpcap_across_exec, number_descriptors, numbered_descriptors,
    prefer_short_slices, raise_descriptor_limit, set_dumpable, set_host_name, set_ids,
    set_ids_and_keep_capabilities, signal_descriptor, signal_everybody, take_signal, wait_child,
};
pub use terminal::{own_terminal, set_window_size, take_foreground, window_size};
