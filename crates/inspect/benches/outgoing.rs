//! What leaves, at the sizes of uploads.

use chaperone_inspect::outgoing::{Fingerprints, KeyedSecrets, Known, Outgoing, Part};
use chaperone_inspect::{Detectors, Spot};
use divan::{Bencher, counter::BytesCount};

fn main() {
    divan::main();
}

const KEY: [u8; 32] = [7; 32];

/// Numbers that look random and are the same each time.
fn noise(n: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..n).map(|_| next()).collect()
}

fn base64(bytes: &[u8]) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |c: &[u8]| c.iter().fold(0u32, |n, b| n << 8 | u32::from(*b)) << (8 * (3 - c.len()));
    bytes
        .chunks(3)
        .map(group)
        .flat_map(|n| [18, 12, 6, 0].map(|s| ALPHABET[(n >> s & 63) as usize]))
        .collect()
}

fn corpus(kind: &str) -> Vec<u8> {
    let line = |i: usize| match kind {
        "text" => format!(
            "The report of week {i} says that all {} orders were shipped in time; nothing was lost.\n",
            i % 97
        ),
        "code" => format!(
            "    let value_{i} = self.items.get(index + {i}).map(|item| item.name()).unwrap_or(default);\n"
        ),
        _ => format!(
            "{{\"ts\":{},\"level\":\"info\",\"msg\":\"handled\",\"status\":200,\"path\":\"/api/v1/orders\",\"n\":{i}}}\n",
            1_700_000_000_000usize + i
        ),
    };
    match kind {
        "base64 of json" => base64(&corpus("json")),
        "base64 of noise" => base64(&noise(3 << 20)),
        "noise" => noise(4 << 20),
        _ => (0..40_000).flat_map(|i| line(i).into_bytes()).collect(),
    }
}

const KINDS: [&str; 6] = ["json", "text", "code", "base64 of json", "base64 of noise", "noise"];

#[divan::bench(args = KINDS)]
fn look(bencher: Bencher, kind: &str) {
    let outgoing = Outgoing::new(Detectors::builtin().expect("the shipped packs load"));
    let bytes = corpus(kind);
    let parts = [Part { spot: Spot::Body, bytes: &bytes, content_type: None }];
    bencher.counter(BytesCount::of_slice(&bytes)).bench(|| outgoing.look(&parts, &Known::default()));
}

#[divan::bench(args = KINDS)]
fn look_with_all_known(bencher: Bencher, kind: &str) {
    let outgoing = Outgoing::new(Detectors::builtin().expect("the shipped packs load"));
    let mut read = Fingerprints::new(&KEY);
    read.add(1, &corpus("code"));
    let mut secrets = KeyedSecrets::new(&KEY);
    secrets.register(1, b"a value that is kept in the vault").expect("it is long enough");
    let bytes = corpus(kind);
    let parts = [Part { spot: Spot::Body, bytes: &bytes, content_type: None }];
    let known = Known { read: Some(&read), secrets: Some(&secrets), ..Known::default() };
    bencher.counter(BytesCount::of_slice(&bytes)).bench(|| outgoing.look(&parts, &known));
}

#[divan::bench(args = ["json", "text"])]
fn fingerprints_add(bencher: Bencher, kind: &str) {
    let bytes = corpus(kind);
    bencher.counter(BytesCount::of_slice(&bytes)).with_inputs(|| Fingerprints::new(&KEY)).bench_local_values(
        |mut read| {
            read.add(1, &bytes);
            read
        },
    );
}

#[divan::bench(args = ["json", "text", "noise"])]
fn fingerprints_hits(bencher: Bencher, kind: &str) {
    let mut read = Fingerprints::new(&KEY);
    read.add(1, &noise(16 << 20));
    let bytes = corpus(kind);
    bencher.counter(BytesCount::of_slice(&bytes)).bench(|| read.hits(&bytes));
}
