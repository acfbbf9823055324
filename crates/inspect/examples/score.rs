//! Precision, recall and speed of the shipped detectors on labelled cases.
//!
//! `score [--misses] [--half 0|1] CASES.jsonl…` reads one case a line (id, kind, category, text, expected, scope) and prints the joint
//! figures and every category's; `score --speed [code|csv|json]` prints MB/s of processor time on code, CSV and JSON logs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chaperone_inspect::{Detectors, ScanOptions, Scanner, scan};
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    id: String,
    kind: String,
    category: String,
    text: String,
    expected: bool,
    scope: String,
    #[serde(default)]
    source: String,
}

#[derive(Default, Clone, Copy)]
struct Tally {
    hit: u32,
    miss: u32,
    false_alarm: u32,
    quiet: u32,
}

impl Tally {
    fn count(&mut self, expected: bool, fired: bool) {
        *match (expected, fired) {
            (true, true) => &mut self.hit,
            (true, false) => &mut self.miss,
            (false, true) => &mut self.false_alarm,
            (false, false) => &mut self.quiet,
        } += 1;
    }

    fn print(&self, name: &str) {
        let ratio = |a: u32, b: u32| if a + b == 0 { f64::NAN } else { f64::from(a) / f64::from(a + b) };
        println!(
            "{name:<34} precision {:.3}  recall {:.3}  false-positive rate {:.4}   (+{} -{})",
            ratio(self.hit, self.false_alarm),
            ratio(self.hit, self.miss),
            ratio(self.false_alarm, self.quiet),
            self.hit + self.miss,
            self.false_alarm + self.quiet
        );
    }
}

const CORE: [&str; 6] = ["CREDIT_CARD", "US_SSN", "EMAIL_ADDRESS", "PHONE_NUMBER", "IBAN_CODE", "IP_ADDRESS"];
const CHECKED: [&str; 18] = [
    "AU_ABN",
    "AU_MEDICARE",
    "AU_TFN",
    "BR_CPF",
    "CA_SIN",
    "CN_ID",
    "DE_TAX_ID",
    "ES_NIF",
    "FI_PERSONAL_IDENTITY_CODE",
    "FR_NIR",
    "IN_AADHAAR",
    "IT_FISCAL_CODE",
    "NL_BSN",
    "NO_FNR",
    "PL_PESEL",
    "SE_PERSONNUMMER",
    "UK_NHS",
    "ZA_ID_NUMBER",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let detectors = Detectors::builtin()?;
    if args.iter().any(|a| a == "--speed") {
        return speed(&detectors, &args);
    }
    let show = args.iter().any(|a| a == "--misses");
    let half = args.iter().position(|a| a == "--half").and_then(|i| args.get(i + 1)?.parse::<u8>().ok());
    let files = args.iter().filter(|a| a.ends_with(".jsonl"));
    for file in files {
        score(&detectors, &std::fs::read_to_string(file)?, show, half)?;
    }
    Ok(())
}

fn score(
    detectors: &Detectors,
    cases: &str,
    show: bool,
    half: Option<u8>,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut groups: BTreeMap<String, Tally> = BTreeMap::new();
    for line in cases.lines() {
        let case: Case = serde_json::from_str(line)?;
        let bucket = u8::from_str_radix(case.id.get(..2).unwrap_or("0"), 16)? % 2;
        if half.is_some_and(|h| h != bucket) {
            continue;
        }
        let found: BTreeSet<(&str, &str)> = scan(detectors, case.text.as_bytes())
            .iter()
            .map(|m| detectors.info(m.detector))
            .map(|i| (i.category.as_str(), i.name.as_str()))
            .collect();
        let names: Vec<&str> = found.iter().map(|f| f.1).collect();
        let secret = case.kind == "secret";
        let fired = if secret {
            found.iter().any(|f| f.0 == "secret")
        } else if case.scope == "any" {
            found.iter().any(|f| f.0 == "pii")
        } else {
            names.contains(&case.category.to_lowercase().as_str())
        };
        let mut count = |name: &str| groups.entry(name.to_string()).or_default().count(case.expected, fired);
        if secret {
            // A negative for one rule of another tool says nothing of other rules.
            count(if case.scope == "rule" { "(negatives of one rule)" } else { "SECRETS" });
            count(&format!("secret from {}", case.source.split(':').next().unwrap_or("")));
        } else {
            count(&case.category);
            if CORE.contains(&case.category.as_str()) {
                count("CORE PERSONAL DATA");
            }
            if CHECKED.contains(&case.category.as_str()) {
                count("NUMBERS WITH A CHECKSUM");
            }
        }
        if show && fired != case.expected {
            let text: String = case.text.chars().take(200).collect();
            println!(
                "{}{} {} {:?} {:?}",
                if case.expected { "MISS " } else { "FALSE " },
                &case.scope[..1],
                case.category,
                names,
                text
            );
        }
    }
    for (name, tally) in &groups {
        tally.print(name);
    }
    Ok(())
}

/// Deterministic numbers for the generated corpora.
struct Noise(u64);

impl Noise {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

const SIZE: usize = 24 << 20;

fn code() -> Vec<u8> {
    let mut out = Vec::with_capacity(SIZE);
    let mut folders = vec![
        std::path::PathBuf::from("/usr/lib/python3"),
        "/usr/lib/python3.11".into(),
        "/usr/lib/python3.12".into(),
        "/usr/lib/python3.13".into(),
    ];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "py") && out.len() < SIZE {
                out.extend(std::fs::read(path).unwrap_or_default());
            }
        }
    }
    out
}

fn csv() -> Vec<u8> {
    let mut n = Noise(1);
    let mut out = b"id,created,region,product,quantity,unit_price,total,comment\n".to_vec();
    let regions = ["north", "south", "east", "west", "Central Europe"];
    while out.len() < SIZE {
        let (q, p) = (n.next(500), n.next(100_000));
        let line = format!(
            "{},2026-{:02}-{:02}T{:02}:{:02}:{:02}Z,{},SKU-{:06},{q},{}.{:02},{},\"checked by team {}, ok\"\n",
            n.next(10_000_000),
            1 + n.next(12),
            1 + n.next(28),
            n.next(24),
            n.next(60),
            n.next(60),
            regions[n.next(5) as usize],
            n.next(1_000_000),
            p / 100,
            p % 100,
            q * p,
            n.next(40)
        );
        out.extend(line.as_bytes());
    }
    out
}

fn json_log() -> Vec<u8> {
    let mut n = Noise(2);
    let mut out = Vec::with_capacity(SIZE);
    let paths = ["/api/v1/orders", "/health", "/static/app.js", "/api/v1/users/search"];
    while out.len() < SIZE {
        let line = format!(
            "{{\"ts\":17{:011},\"level\":\"info\",\"logger\":\"http.access\",\"msg\":\"handled request\",\"status\":{},\"duration_ms\":{}.{:03},\"path\":\"{}\",\"trace_id\":\"{:016x}{:016x}\",\"bytes\":{},\"worker\":{}}}\n",
            n.next(100_000_000_000),
            200 + n.next(300),
            n.next(900),
            n.next(1000),
            paths[n.next(4) as usize],
            n.next(u64::MAX) << 20,
            n.next(u64::MAX) << 20,
            n.next(1_000_000),
            n.next(16)
        );
        out.extend(line.as_bytes());
    }
    out
}

/// Processor time, so that other work on the machine does not count.
fn cpu() -> Duration {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(t.tv_sec as u64, t.tv_nsec as u32)
}

fn speed(detectors: &Detectors, args: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    type Corpus = (&'static str, fn() -> Vec<u8>);
    let corpora: [Corpus; 3] = [("code", code), ("csv", csv), ("json", json_log)];
    let wanted = |name: &str| args.len() < 2 || args.iter().any(|a| a == name);
    for (name, corpus) in corpora.into_iter().filter(|c| wanted(c.0)) {
        let bytes = corpus();
        let mut best = Duration::MAX;
        let mut found = BTreeMap::new();
        let mut work = 0;
        for _ in 0..5 {
            found.clear();
            let mut out = Vec::new();
            let mut scanner = Scanner::new(detectors, ScanOptions::default());
            let begin = cpu();
            for block in bytes.chunks(64 * 1024) {
                scanner.feed(block, &mut out);
            }
            scanner.finish(&mut out);
            best = best.min(cpu() - begin);
            work = scanner.work();
            out.iter()
                .for_each(|m| *found.entry(detectors.info(m.detector).name.as_str()).or_insert(0u32) += 1);
        }
        let rate = bytes.len() as f64 / best.as_secs_f64() / 1e6;
        println!(
            "{name:<10} {rate:>7.0} MB/s of processor time, {} MB, {:.2} verification steps a byte, findings {found:?}",
            bytes.len() / 1_000_000,
            work as f64 / bytes.len().max(1) as f64
        );
    }
    Ok(())
}
