//! A log's files after somebody else wrote to them, checkpoints and proofs. The first byte chooses: 0: the rest as a
//! checkpoint and as a proof; 1: a list of changes to files, six bytes each and their text. A change of any byte is
//! noticed, and reading goes wrong with an error at worst.
#![no_main]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chaperone_audit::{
    Checkpoint, Durability, Entry, Filter, KeyError, Keys, Log, Options, Reader, VerifyOptions, prove,
    verify, verify_proof,
};
use ed25519_dalek::SigningKey;
use libfuzzer_sys::fuzz_target;
use signed_note::{Note, StandardSigner, new_ed25519_verifier_key};

/// Two tiles, the second one not full.
const RECORDS: u64 = 300;
const SEED: [u8; 32] = [3; 32];

struct Fixture {
    _own: tempfile::TempDir,
    dir: PathBuf,
    files: BTreeMap<PathBuf, Vec<u8>>,
    vkey: String,
}

static LOG: LazyLock<Fixture> = LazyLock::new(|| {
    let base = if Path::new("/dev/shm").is_dir() { PathBuf::from("/dev/shm") } else { std::env::temp_dir() };
    let own = tempfile::tempdir_in(base).expect("a folder");
    let dir = own.path().join("log");
    let options = Options { now_ms: 1, checkpoint_records: 100, checkpoint_every: Duration::from_secs(3600) };
    let log = Log::open(&dir, Arc::new(FixedKeys), options).expect("a new log");
    for n in 0..RECORDS {
        let entry = Entry {
            time_ms: 1000 + n,
            session: "s".into(),
            action: "read".into(),
            resource: format!("/workspace/{n}"),
            ..Entry::default()
        };
        let payload = serde_json::json!({ "n": n });
        log.append(entry, (n % 3 == 0).then_some(&payload), Durability::Logged).expect("a record");
    }
    drop(log);
    let mut files = BTreeMap::new();
    let mut folders = vec![dir.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with("lock") {
                files.insert(path.clone(), fs::read(path).expect("a file"));
            }
        }
    }
    let vkey = FixedKeys.verifier();
    let whole = verify(&dir, &vkey, &VerifyOptions::default()).expect("a whole log");
    assert_eq!((whole.integrity, whole.problems.len()), ("ok", 0), "{whole:?}");
    if let Some(folder) = std::env::var_os("CHAPERONE_FUZZ_SEEDS") {
        let proof = prove(&dir, &vkey, 17).expect("a proof");
        let checkpoint = fs::read_to_string(dir.join("checkpoint")).expect("a checkpoint");
        for (name, text) in [("proof", proof), ("checkpoint", checkpoint)] {
            fs::write(Path::new(&folder).join(name), format!("\0{text}")).expect("the folder is there");
        }
    }
    Fixture { dir, files, vkey, _own: own }
});

fuzz_target!(|data: &[u8]| {
    let Some((kind, rest)) = data.split_first() else { return };
    if kind % 2 == 0 { texts(&LOG, rest) } else { changes(&LOG, rest) }
});

fn texts(log: &Fixture, text: &[u8]) {
    if let Ok(opened) = Checkpoint::open(text, &log.vkey) {
        // Ed25519 signs the same text the same way, and the text has one form.
        let signed = FixedKeys.sign_checkpoint(opened.size, opened.root, &[]).expect("a signature");
        assert!(opened.text == signed && signed.as_bytes() == text, "a checkpoint that nobody signed");
    }
    let text = String::from_utf8_lossy(text);
    assert!(verify_proof(&text, b"a leaf that is in no log", &log.vkey).is_err());
}

fn changes(log: &Fixture, mut script: &[u8]) {
    let mut touched: BTreeMap<&PathBuf, Vec<u8>> = BTreeMap::new();
    while let Some((head, rest)) = script.split_at_checked(6) {
        let [file, operation, a, b, c, length] = *head else { break };
        let (text, after) = rest.split_at(usize::from(length).min(rest.len()));
        script = after;
        let Some(path) = log.files.keys().nth(usize::from(file) % log.files.len()) else { break };
        let bytes = touched.entry(path).or_insert_with(|| log.files[path].clone());
        let at = usize::from(a) | usize::from(b) << 8 | usize::from(c) << 16;
        let at = if bytes.is_empty() { 0 } else { at % bytes.len() };
        match operation % 4 {
            0 => bytes.iter_mut().skip(at).zip(text).for_each(|(old, new)| *old = *new),
            1 => drop(bytes.splice(at..at, text.iter().copied())),
            2 => bytes.truncate(at),
            _ => drop(bytes.drain(at..(at + usize::from(length)).min(bytes.len()))),
        }
    }
    let changed = touched.iter().any(|(path, bytes)| log.files[*path] != *bytes);
    for (path, bytes) in &touched {
        fs::write(path, bytes).expect("the file is written");
    }
    let verdict = verify(&log.dir, &log.vkey, &VerifyOptions::default());
    let sound = verdict.is_ok_and(|v| v.integrity == "ok");
    if let Ok(reader) = Reader::open(&log.dir) {
        reader.query(Filter { action: Some("read".into()), ..Filter::default() }).for_each(drop);
        for seq in [0, 17, 255, 256, RECORDS, u64::MAX] {
            reader.show(seq, &FixedKeys).ok();
        }
        reader.follow(200).poll().ok();
    }
    let proof = prove(&log.dir, &log.vkey, 17);
    for path in touched.keys() {
        fs::write(path, &log.files[*path]).expect("the file is restored");
    }
    assert_eq!(sound, !changed, "changed: {changed}, found sound: {sound}; proof: {}", proof.is_ok());
}

/// A key known to all: only the form of what it signs is in question here.
struct FixedKeys;

impl Keys for FixedKeys {
    fn origin(&self) -> String {
        "fuzz.log".into()
    }
    fn verifier(&self) -> String {
        new_ed25519_verifier_key("fuzz.log", &SigningKey::from_bytes(&SEED).verifying_key())
    }
    fn sign_checkpoint(&self, size: u64, root: [u8; 32], _: &[[u8; 32]]) -> Result<String, KeyError> {
        let bad = |_| KeyError("it cannot be signed".into());
        let text = format!("fuzz.log\n{size}\n{}\n", BASE64.encode(root));
        let verifier = self.verifier();
        let id = verifier.split('+').nth(1).unwrap_or_default();
        let body = BASE64.encode([&[1u8][..], &SEED].concat());
        let signer = StandardSigner::new(&format!("PRIVATE+KEY+fuzz.log+{id}+{body}"))
            .map_err(|_| KeyError("no signer".into()))?;
        let mut note = Note::new(text.as_bytes(), &[]).map_err(bad)?;
        note.add_sigs(&[&signer]).map_err(bad)?;
        String::from_utf8(note.to_bytes()).map_err(|_| KeyError("not UTF-8".into()))
    }
    fn last_signed(&self) -> Result<Option<(u64, [u8; 32])>, KeyError> {
        Ok(None)
    }
    fn data_key(&self, _: Option<&str>) -> Result<(String, [u8; 32]), KeyError> {
        Ok(("k1".into(), [7; 32]))
    }
}
