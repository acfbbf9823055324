//! The scanner on the kinds of text that agents read and write.

use chaperone_inspect::{Detectors, Limits, inspect_bytes, scan};
use divan::{Bencher, counter::BytesCount};

fn main() {
    divan::main();
}

fn corpus(kind: &str) -> Vec<u8> {
    let line = |i: usize| match kind {
        "code" => format!(
            "    let value_{i} = self.items.get(index + {i}).map(|item| item.name()).unwrap_or(default);\n"
        ),
        "csv" => format!("{i},2026-06-{:02},north,SKU-{i:06},{},19.99,checked ok\n", i % 28 + 1, i % 500),
        _ => format!(
            "{{\"ts\":{},\"level\":\"info\",\"msg\":\"handled\",\"status\":200,\"path\":\"/api/v1/orders\",\"n\":{i}}}\n",
            1_700_000_000_000 + i
        ),
    };
    (0..40_000).flat_map(|i| line(i).into_bytes()).collect()
}

#[divan::bench(args = ["code", "csv", "json"])]
fn block(bencher: Bencher, kind: &str) {
    let detectors = Detectors::builtin().expect("the shipped packs load");
    let bytes = corpus(kind);
    bencher.counter(BytesCount::of_slice(&bytes)).bench(|| scan(&detectors, &bytes));
}

/// The same as a document: with everything that may be written otherwise.
#[divan::bench(args = ["code", "csv", "json"])]
fn document(bencher: Bencher, kind: &str) {
    let detectors = Detectors::builtin().expect("the shipped packs load");
    let bytes = corpus(kind);
    let name = if kind == "code" { "unit.rs".to_owned() } else { format!("body.{kind}") };
    let look = || inspect_bytes(&detectors, &bytes, &name, &Limits::default());
    bencher.counter(BytesCount::of_slice(&bytes)).bench(look);
}

/// The first reading of a small file, as most are: what does not grow with the file counts here.
#[divan::bench(args = ["code", "csv", "json"])]
fn small(bencher: Bencher, kind: &str) {
    let detectors = Detectors::builtin().expect("the shipped packs load");
    let mut bytes = corpus(kind);
    bytes.truncate(4096);
    let name = if kind == "code" { "unit.rs".to_owned() } else { format!("body.{kind}") };
    let look = || inspect_bytes(&detectors, &bytes, &name, &Limits::default());
    bencher.counter(BytesCount::of_slice(&bytes)).bench(look);
}
