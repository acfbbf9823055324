//! Times what a program sees of its files, the same inside a cell and outside; `scripts/bench` runs it on both sides.
//!
//! ```text
//! measure spawn ROUNDS COMMAND…    each COMMAND (words parted by blanks, {n} is the round) run in turn; one line each:
//!                                  median, least and first in milliseconds
//! measure open FILE ROUNDS         open, read 4 KiB, close: median and 99th percentile in microseconds
//! measure read FILE ROUNDS         the whole file in 1 MiB reads: first and median speed in MB/s
//! measure rpc PATH ROUNDS          read_file of 4 KiB over the cell's channel: median and 99th percentile in microseconds
//! ```

use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const CHANNEL: &str = "/run/chaperone/channel";

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["spawn", rounds, commands @ ..] => spawn(rounds.parse()?, commands),
        ["open", file, rounds] => open(file, rounds.parse()?),
        ["read", file, rounds] => read(file, rounds.parse()?),
        ["rpc", path, rounds] => rpc(path, rounds.parse()?),
        _ => {
            Err("measure spawn ROUNDS COMMAND… | open FILE ROUNDS | read FILE ROUNDS | rpc PATH ROUNDS"
                .into())
        }
    }
}

/// In turn, so that what else the machine does falls upon all of them alike.
fn spawn(rounds: usize, commands: &[&str]) -> Result<(), Box<dyn Error>> {
    let mut times = vec![Vec::new(); commands.len()];
    for round in 0..rounds {
        for (command, times) in commands.iter().zip(&mut times) {
            let filled = command.replace("{n}", &round.to_string());
            let mut words = filled.split_whitespace();
            let program = words.next().ok_or("an empty command")?;
            let begin = Instant::now();
            let status = Command::new(program)
                .args(words)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .map_err(|e| format!("{program}: {e}"))?;
            times.push(begin.elapsed());
            if !status.success() {
                return Err(format!("{filled}: {status}").into());
            }
        }
    }
    for times in &mut times {
        let first = times.first().copied().unwrap_or_default();
        times.sort_unstable();
        let least = times.first().copied().unwrap_or_default();
        println!(
            "{:.3} {:.3} {:.3}",
            at(times, 0.5) * 1e3,
            least.as_secs_f64() * 1e3,
            first.as_secs_f64() * 1e3
        );
    }
    Ok(())
}

fn open(file: &str, rounds: usize) -> Result<(), Box<dyn Error>> {
    let mut buffer = vec![0; 4096];
    let mut times = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let begin = Instant::now();
        let read = File::open(file)?.read(&mut buffer)?;
        times.push(begin.elapsed());
        if read == 0 {
            return Err("the file is empty".into());
        }
    }
    microseconds(&mut times);
    Ok(())
}

fn read(file: &str, rounds: usize) -> Result<(), Box<dyn Error>> {
    let mut buffer = vec![0; 1 << 20];
    let mut speeds = Vec::new();
    for _ in 0..rounds {
        let begin = Instant::now();
        let mut input = File::open(file)?;
        let mut total = 0;
        loop {
            let n = input.read(&mut buffer)?;
            if n == 0 {
                break;
            }
            total += n;
        }
        speeds.push(total as f64 / begin.elapsed().as_secs_f64() / 1e6);
    }
    let first = speeds.first().copied().unwrap_or_default();
    let mut again = speeds.split_off(1.min(speeds.len()));
    again.sort_unstable_by(f64::total_cmp);
    println!("{first:.0} {:.0}", again.get(again.len() / 2).copied().unwrap_or(first));
    Ok(())
}

fn rpc(path: &str, rounds: usize) -> Result<(), Box<dyn Error>> {
    let mut stream = UnixStream::connect(CHANNEL)?;
    let mut answers = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    let hello = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"measure","version":"1"}}}"#;
    writeln!(stream, "{hello}")?;
    answers.read_line(&mut line)?;
    writeln!(stream, r#"{{"jsonrpc":"2.0","method":"notifications/initialized"}}"#)?;
    let mut times = Vec::with_capacity(rounds);
    for id in 1..=rounds {
        let call = format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"read_file","arguments":{{"path":"{path}","length":4096}}}}}}"#
        ) + "\n";
        line.clear();
        let begin = Instant::now();
        stream.write_all(call.as_bytes())?;
        answers.read_line(&mut line)?;
        times.push(begin.elapsed());
        if line.len() < 4096 || line.contains(r#""isError":true"#) {
            return Err(format!("refused: {line:.300}").into());
        }
    }
    // The first ones inspect the file and make the decision; the goal is about those that follow.
    let mut settled = times.split_off((rounds / 20).min(times.len()));
    microseconds(&mut settled);
    Ok(())
}

fn microseconds(times: &mut [Duration]) {
    times.sort_unstable();
    println!("{:.1} {:.1}", at(times, 0.5) * 1e6, at(times, 0.99) * 1e6);
}

/// Seconds at a quantile of sorted times.
fn at(times: &[Duration], quantile: f64) -> f64 {
    let index = (times.len() as f64 * quantile) as usize;
    times.get(index.min(times.len().saturating_sub(1))).map_or(f64::NAN, Duration::as_secs_f64)
}
