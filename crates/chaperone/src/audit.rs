//! `audit tail|query|show|verify|prove|checkpoint|archive`.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use chaperone_audit::{Damaged, Filter, Found, Leaf, Look, Part, Reader, VerifyOptions};
use chaperone_config::Dirs;
use chaperone_protocol::{Request, counted};
use chaperone_vault::VaultClient;
use serde_json::json;

use crate::cli::{Audit, Moment};
use crate::connect::Broker;
use crate::out::{note, say};
use crate::report::Report;
use crate::show;
use crate::untrusted::Untrusted;

/// How often `tail --follow` looks for new records.
const FOLLOW: Duration = Duration::from_millis(200);

/// How often the end of the log is read again, and after what time, before it counts for damaged: it may be half written.
const LOOKS_AT_THE_END: u32 = 3;
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The exit code of a look at a log of which records are damaged.
const DAMAGED: u8 = 3;

pub fn audit(command: &Audit) -> Result<u8, Report> {
    let dirs = Dirs::from_environment().map_err(Report::of)?;
    match command {
        Audit::Tail { lines, follow, json } => tail(&dirs, *lines, *follow, *json),
        Audit::Query { session, since, until, action, effect, rule, limit, json } => {
            let filter = Filter {
                session: session.clone(),
                since: since.map(Moment::not_before),
                until: until.map(Moment::not_after),
                action: action.clone(),
                effect: effect.clone(),
                rule: rule.clone(),
            };
            query(&dirs, filter, *limit, *json)
        }
        Audit::Show { seq } => {
            show::json(&Broker::reach()?.ask(&Request::AuditShow { seq: *seq })?);
            Ok(0)
        }
        Audit::Verify { checkpoint, log, json } => check(&dirs, checkpoint.as_deref(), log.as_deref(), *json),
        Audit::Prove { seq } => {
            let (vkey, _) = trusted(&dirs)?;
            crate::out::write(format_args!(
                "{}",
                chaperone_audit::prove(&dirs.audit(), &vkey, *seq).map_err(Report::of)?
            ));
            Ok(0)
        }
        Audit::Archive => crate::archive::archive(&dirs),
        Audit::Checkpoint => {
            let answer = Broker::reach()?.ask(&Request::AuditCheckpoint)?;
            // A signed note: its line feeds are part of what was signed, and nothing of it is the agent's.
            crate::out::write(format_args!("{}", show::text(&answer, "checkpoint").raw()));
            Ok(0)
        }
    }
}

/// Oldest first, and of many the newest, as `tail` does it.
fn query(dirs: &Dirs, filter: Filter, limit: Option<usize>, json: bool) -> Result<u8, Report> {
    let reader = Reader::open(&dirs.audit()).map_err(Report::of)?;
    let session = filter.session.clone();
    let mut leaves: VecDeque<Leaf> = VecDeque::new();
    let mut found = false;
    let damage = read_on(&reader, &filter, |leaf| {
        found = true;
        match limit {
            None => print(&leaf, json),
            Some(limit) => {
                leaves.push_back(leaf);
                leaves.drain(..leaves.len().saturating_sub(limit));
            }
        }
    })?;
    leaves.iter().for_each(|leaf| print(leaf, json));
    if !found {
        is_known(dirs, session.as_deref())?;
        note!("chaperone: no record matches");
    }
    Ok(damage.tell())
}

/// Whether the log has anything of a session: a name that nothing has is more likely mistaken than meant.
fn is_known(dirs: &Dirs, session: Option<&str>) -> Result<(), Report> {
    let Some(name) = session else { return Ok(()) };
    let filter = Filter { session: Some(name.to_owned()), ..Filter::default() };
    if Reader::open(&dirs.audit()).map_err(Report::of)?.query(filter).next().is_some() {
        return Ok(());
    }
    let report = Report::new(format!("the log has no record of session {}", Untrusted::new(name)));
    Err(report.advise("list them with: chaperone sessions --all (the id has to be whole here)"))
}

fn tail(dirs: &Dirs, lines: usize, follow: bool, json: bool) -> Result<u8, Report> {
    let reader = Reader::open(&dirs.audit()).map_err(Report::of)?;
    let mut last: VecDeque<Leaf> = VecDeque::new();
    let mut next = 0;
    let damage = read_on(&reader, &Filter::default(), |leaf| {
        next = leaf.seq + 1;
        last.push_back(leaf);
        last.drain(..last.len().saturating_sub(lines));
    })?;
    last.iter().for_each(|leaf| print(leaf, json));
    let code = damage.tell();
    if !follow {
        return Ok(code);
    }
    let mut follow = reader.follow(next.max(damage.next()));
    loop {
        let mut damage = Damage::default();
        for found in follow.poll().map_err(Report::of)? {
            match found {
                Found::Leaf(leaf) => print(&leaf, json),
                Found::Damaged(damaged) => damage.add(damaged),
            }
        }
        damage.tell();
        std::thread::sleep(FOLLOW);
    }
}

/// Gives what can be read of the log, and what of it is damaged.
fn read_on(reader: &Reader, filter: &Filter, mut each: impl FnMut(Leaf)) -> Result<Damage, Report> {
    let mut damage = Damage::default();
    let mut from = 0;
    for again in (0..=LOOKS_AT_THE_END).rev() {
        let mut half_written = None;
        for found in reader.salvage(from, filter.clone()).map_err(Report::of)? {
            match found {
                Found::Leaf(leaf) => each(*leaf),
                Found::Damaged(damaged) if damaged.at_end && again > 0 => {
                    half_written.get_or_insert(damaged.first);
                }
                Found::Damaged(damaged) => damage.add(damaged),
            }
        }
        let Some(first) = half_written else { break };
        from = first;
        std::thread::sleep(LOOK_AGAIN);
    }
    Ok(damage)
}

/// What of the log is damaged, in order.
#[derive(Default)]
struct Damage(Vec<Damaged>);

impl Damage {
    fn add(&mut self, more: Damaged) {
        match self.0.iter_mut().rev().find(|d| d.part == more.part) {
            Some(d) if d.last + 1 == more.first => d.last = more.last,
            _ => self.0.push(more),
        }
    }

    /// Says it on standard error. What the log is worth then is for `verify` to say; the exit code says that something is missing.
    fn tell(&self) -> u8 {
        for Damaged { first, last, part, .. } in &self.0 {
            let of = match part {
                Part::Record => "",
                Part::Payload => "the payloads of ",
            };
            let (which, are) = match (first == last, part) {
                (true, Part::Record) => (format!("record {first}"), "is"),
                (true, Part::Payload) => (format!("record {first}"), "are"),
                (false, _) => (format!("records {first} to {last}"), "are"),
            };
            let left_out = match part {
                Part::Record => ": what cannot be read is left out",
                Part::Payload => "",
            };
            note!("chaperone: {of}{which} {are} damaged{left_out}");
        }
        if self.0.is_empty() {
            return 0;
        }
        note!("  check the whole log with: chaperone audit verify");
        DAMAGED
    }

    /// Where it goes on after what is damaged.
    fn next(&self) -> u64 {
        self.0.iter().filter(|d| d.part == Part::Record).map(|d| d.last + 1).max().unwrap_or(0)
    }
}

/// Check the log against the vault's own memory of what it signed.
fn check(dirs: &Dirs, checkpoint: Option<&Path>, log: Option<&Path>, as_json: bool) -> Result<u8, Report> {
    let cannot = |r: Report| r.exit(2);
    let earlier = checkpoint
        .map(std::fs::read_to_string)
        .transpose()
        .map_err(|e| cannot(Report::new(format!("cannot read the checkpoint: {e}"))))?;
    if log.is_none()
        && let Some(broker) = Broker::if_running().map_err(cannot)?
        && let Err(report) = broker.ask(&Request::AuditCheckpoint)
    {
        note!("chaperone: the newest records are not covered by a checkpoint yet: {report}");
    }
    let folder = log.map_or_else(|| dirs.audit(), Path::to_owned);
    let look = Look::at(&folder).map_err(|e| cannot(Report::of(e)))?;
    let (vkey, last) = trusted(dirs).map_err(cannot)?;
    let options = VerifyOptions {
        earlier: earlier.as_deref(),
        now_ms: chaperone_pipeline::clock::unix_ms(),
        fresh_within_ms: None,
        trusted_last: last,
    };
    let verdict = look.verify(&vkey, &options).map_err(|e| cannot(Report::of(e)))?;
    let failed = verdict.integrity == "failed" || verdict.append_only == "failed";
    if as_json {
        show::json(&json!(verdict));
    } else {
        say!("integrity     {}", verdict.integrity);
        let hint = match verdict.append_only {
            "not_checked" => " (pass a checkpoint that you kept: --checkpoint FILE)",
            _ => "",
        };
        say!("append-only   {}{hint}", verdict.append_only);
        say!("completeness  {}", verdict.completeness);
        say!("freshness     {}", verdict.freshness);
        say!("{}", counted(verdict.size, "record"));
        verdict.problems.iter().for_each(|p| say!("  {}", Untrusted::new(p)));
    }
    Ok(u8::from(failed || verdict.completeness == "gaps" || verdict.freshness == "stale"))
}

type Trusted = (String, Option<(u64, [u8; 32])>);

/// The checkpoint key and the last signed tree: from the running broker's vault, or from a vault of our own when no
/// broker runs (one that refuses a damaged log must not stand in the way of looking at it).
fn trusted(dirs: &Dirs) -> Result<Trusted, Report> {
    dirs.prepare().map_err(Report::of)?;
    if let Some(broker) = Broker::if_running()? {
        let answer = broker.ask(&Request::Status)?;
        let last = &answer["last_signed"];
        let root = last["root"].as_str().and_then(decode);
        let last = last["size"].as_u64().zip(root);
        return Ok((show::text(&answer, "checkpoint_vkey").raw().to_owned(), last));
    }
    let exe = std::env::current_exe().map_err(Report::of)?;
    let vault = VaultClient::spawn(&exe, &["__vault"], &dirs.vault()).map_err(Report::of)?;
    let last = vault.last_signed().map_err(Report::of)?.map(|l| (l.size, l.root));
    Ok((vault.hello().checkpoint_vkey.clone(), last))
}

fn decode(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0u8; 32];
    if text.len() != 64 {
        return None;
    }
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(i * 2..i * 2 + 2)?, 16).ok()?;
    }
    Some(bytes)
}

fn print(leaf: &Leaf, as_json: bool) {
    if as_json {
        show::json(&json!(leaf));
        return;
    }
    say!("{}", line(leaf));
}

/// One record in one line.
fn line(leaf: &Leaf) -> String {
    let e = &leaf.entry;
    let phase = json!(e.phase);
    let reasons: Vec<String> = e.reasons.iter().map(|r| Untrusted::new(r).to_string()).collect();
    format!(
        "{} {:>6} {:7} {:8} {:6} {} {}",
        Untrusted::new(&leaf.time),
        leaf.seq,
        phase.as_str().unwrap_or_default(),
        Untrusted::new(&e.action),
        Untrusted::new(&e.effect),
        Untrusted::new(&e.resource),
        reasons.join(",")
    )
}
