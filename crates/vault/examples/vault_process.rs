//! The vault process alone, as `chaperone __vault DIR` runs it, for this crate's tests; without the system call filter,
//! which the command adds.
fn main() -> std::process::ExitCode {
    match std::env::args_os().nth(1) {
        Some(dir) => chaperone_vault::serve_inherited(std::path::Path::new(&dir), || Ok(())),
        None => std::process::ExitCode::from(2),
    }
}
