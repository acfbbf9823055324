//! The vault process alone, as `chaperone __vault DIR` runs it, for this crate's tests. With `--connect` or
//! `--connect-confined` it tries the network instead, without and with the vault's confinement.
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(argument) = std::env::args_os().nth(1) else { return ExitCode::from(2) };
    let confined = argument == "--connect-confined";
    if !confined && argument != "--connect" {
        return chaperone_vault::serve_inherited(std::path::Path::new(&argument));
    }
    if confined && chaperone_sys::confine_vault().is_err() {
        return ExitCode::from(3);
    }
    // Whether somebody listens there is not the question.
    let _ = std::net::TcpStream::connect(("127.0.0.1", 9));
    ExitCode::SUCCESS
}
