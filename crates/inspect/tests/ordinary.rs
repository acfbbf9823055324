//! What every project is full of is nobody's secret: lock files, digests, integrity strings and UUIDs are never certain findings.
#![allow(clippy::unwrap_used)]

use chaperone_inspect::{Detectors, Limits, inspect_bytes};

/// Deterministic bytes.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.next() as u8).collect()
    }

    fn hex(&mut self, bytes: usize) -> String {
        self.bytes(bytes).iter().map(|b| format!("{b:02x}")).collect()
    }

    fn base64(&mut self, bytes: usize) -> String {
        const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut out = String::new();
        for chunk in self.bytes(bytes).chunks(3) {
            let n = (0..3).fold(0u32, |n, i| n << 8 | u32::from(chunk.get(i).copied().unwrap_or(0)));
            out.extend((0..=chunk.len()).map(|i| char::from(ALPHABET[(n >> (18 - 6 * i) & 63) as usize])));
            out.extend(std::iter::repeat_n('=', 3 - chunk.len()));
        }
        out
    }

    fn uuid(&mut self) -> String {
        let h = self.hex(16);
        format!("{}-{}-4{}-a{}-{}", &h[..8], &h[8..12], &h[13..16], &h[17..20], &h[20..])
    }

    fn version(&mut self) -> String {
        format!("{}.{}.{}", self.next() % 30, self.next() % 200, self.next() % 3000)
    }

    /// A name that a package may well have, of words that labels of secrets consist of too.
    fn name(&mut self) -> String {
        const WORDS: [&str; 12] = [
            "token", "secret", "key", "auth", "api", "password", "hash", "jwt", "client", "core", "types",
            "session",
        ];
        format!("{}-{}", WORDS[self.next() as usize % 12], WORDS[self.next() as usize % 12])
    }
}

/// The findings that are certain, in words.
fn certain(detectors: &Detectors, name: &str, text: &str) -> Vec<String> {
    let report = inspect_bytes(detectors, text.as_bytes(), name, &Limits::default());
    assert_eq!(report.error(), None, "{name}");
    report
        .items
        .iter()
        .flat_map(|i| &i.findings)
        .filter(|f| f.certainty.to_string() == "certain")
        .map(|f| format!("{name}: {} at {}", f.detector, f.place))
        .collect()
}

/// One entry of a lock file of each kind: the name of the file, and what it says of a package.
fn entry(kind: usize, n: &mut Noise) -> (&'static str, String) {
    let (name, version) = (n.name(), n.version());
    match kind {
        0 => (
            "Cargo.lock",
            format!(
                "[[package]]\nname = \"{name}\"\nversion = \"{version}\"\nsource = \"registry+https://github.com/rust-lang/crates.io-index\"\nchecksum = \"{}\"\n\n",
                n.hex(32)
            ),
        ),
        1 => (
            "yarn.lock",
            format!(
                "{name}@^{version}:\n  version \"{version}\"\n  resolved \"https://registry.yarnpkg.com/{name}/-/{name}-{version}.tgz#{}\"\n  integrity sha512-{}\n\n",
                n.hex(20),
                n.base64(64)
            ),
        ),
        2 => (
            "pnpm-lock.yaml",
            format!(
                "  /{name}@{version}:\n    resolution: {{integrity: sha512-{}}}\n    engines: {{node: '>=18'}}\n\n",
                n.base64(64)
            ),
        ),
        3 => (
            "poetry.lock",
            format!(
                "[[package]]\nname = \"{name}\"\nversion = \"{version}\"\nfiles = [\n    {{file = \"{name}-{version}.tar.gz\", hash = \"sha256:{}\"}},\n]\n\n",
                n.hex(32)
            ),
        ),
        4 => (
            "go.sum",
            format!(
                "github.com/{name}/{name} v{version} h1:{}\ngithub.com/{name}/{name} v0.0.0-20240102030405-{}/go.mod h1:{}\n",
                n.base64(32),
                n.hex(6),
                n.base64(32)
            ),
        ),
        5 => (
            "Gemfile.lock",
            format!(
                "GIT\n  remote: https://github.com/{name}/{name}.git\n  revision: {}\n  specs:\n    {name} ({version})\n",
                n.hex(20)
            ),
        ),
        6 => (
            "RECORD",
            format!(
                "{name}/{name}.py,sha256={},{}\n",
                n.base64(32).trim_end_matches('=').replace('+', "-").replace('/', "_"),
                n.next() % 100_000
            ),
        ),
        7 => (
            "uv.lock",
            format!(
                "[[package]]\nname = \"{name}\"\nversion = \"{version}\"\nsdist = {{ url = \"https://files.pythonhosted.org/packages/{}/{}/{}/{name}-{version}.tar.gz\", hash = \"sha256:{}\", size = {} }}\n",
                n.hex(1),
                n.hex(1),
                n.hex(30),
                n.hex(32),
                n.next() % 1_000_000
            ),
        ),
        8 => (
            "requirements.txt",
            format!(
                "{name}=={version} \\\n    --hash=sha256:{} \\\n    --hash=sha256:{}\n",
                n.hex(32),
                n.hex(32)
            ),
        ),
        _ => (
            "flake.lock",
            format!(
                "    \"{name}\": {{ \"locked\": {{ \"lastModified\": 17{:08}, \"narHash\": \"sha256-{}\", \"rev\": \"{}\", \"type\": \"github\" }} }},\n",
                n.next() % 100_000_000,
                n.base64(32),
                n.hex(20)
            ),
        ),
    }
}

#[test]
fn lock_files_hold_nothing_that_is_certain() {
    let (detectors, mut n) = (Detectors::builtin().unwrap(), Noise(1));
    let mut found = Vec::new();
    for file in 0..100 {
        let entries: Vec<_> = (0..60).map(|_| entry(file % 10, &mut n)).collect();
        let text: String = entries.iter().map(|e| e.1.as_str()).collect();
        found.extend(certain(&detectors, entries[0].0, &text));
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn a_key_in_a_lock_file_is_still_certain() {
    let (detectors, mut n) = (Detectors::builtin().unwrap(), Noise(2));
    let text = format!("{}aws = \"AKIAZ7QRPDLBIVNHUXEM\"\n{}", entry(0, &mut n).1, entry(0, &mut n).1);
    assert_eq!(certain(&detectors, "Cargo.lock", &text), ["Cargo.lock: aws_access_key at line 7"]);
}

#[test]
fn digests_integrity_strings_and_uuids_are_never_certain() {
    let (detectors, mut n) = (Detectors::builtin().unwrap(), Noise(3));
    let mut found = Vec::new();
    for i in 0..1000 {
        let name = n.name();
        let bytes = [16, 20, 28, 32, 48, 64][i % 6];
        let (short, long) = [("sha256", 32), ("sha384", 48), ("sha512", 64)][i % 3];
        let values = [n.hex(bytes), format!("{short}-{}", n.base64(long)), n.uuid(), n.uuid().to_uppercase()];
        for value in values {
            for (file, text) in [
                ("SHA256SUMS", format!("{value}  {name}.tar.gz\n")),
                (
                    "index.html",
                    format!("<script src=\"/{name}.js\" integrity=\"{value}\" crossorigin></script>\n"),
                ),
                ("main.py", format!("CHECKSUM = \"{value}\"  # of {name}\n")),
                (
                    "config.yaml",
                    format!("digest: {value}\nid: {value}\nimage: registry.test/{name}@sha256:{value}\n"),
                ),
                (
                    "data.json",
                    format!("{{\"id\": \"{value}\", \"etag\": \"{value}\", \"commit\": \"{value}\"}}\n"),
                ),
            ] {
                found.extend(certain(&detectors, file, &text).into_iter().map(|f| format!("{f}: {text}")));
            }
        }
    }
    assert!(found.is_empty(), "{} of 20,000: {:#?}", found.len(), &found[..found.len().min(10)]);
}
