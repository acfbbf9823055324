#![allow(clippy::unwrap_used)]
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use chaperone_audit::*;
use signed_note::{Note, StandardSigner, new_ed25519_verifier_key};

/// Keys in a file beside the log, as the vault keeps them.
struct TestKeys {
    last: PathBuf,
    seed: u8,
}
impl TestKeys {
    fn key(&self) -> ed25519_dalek::SigningKey {
        ed25519_dalek::SigningKey::from_bytes(&[self.seed; 32])
    }
}
impl Keys for TestKeys {
    fn origin(&self) -> String {
        "test.log".into()
    }
    fn verifier(&self) -> String {
        new_ed25519_verifier_key("test.log", &self.key().verifying_key())
    }
    fn sign_checkpoint(&self, size: u64, root: [u8; 32], proof: &[[u8; 32]]) -> Result<String, KeyError> {
        use base64::Engine;
        use tlog_tiles::tlog::{Hash, check_tree};
        if let Some((old, old_root)) = self.last_signed()? {
            let proof = proof.iter().map(|h| Hash(*h)).collect();
            if old > 0 && old < size {
                check_tree(&proof, size, Hash(root), old, Hash(old_root))
                    .map_err(|e| KeyError(e.to_string()))?;
            } else if old > size || (old == size && old_root != root) {
                return Err(KeyError("not an extension".into()));
            }
        }
        std::fs::write(self.last.with_extension("new"), format!("{size} {}", hex::encode(root))).unwrap();
        std::fs::rename(self.last.with_extension("new"), &self.last).unwrap();
        let text = format!("test.log\n{size}\n{}\n", base64::engine::general_purpose::STANDARD.encode(root));
        let vkey = self.verifier();
        let id = vkey.split('+').nth(1).unwrap();
        let body = base64::engine::general_purpose::STANDARD.encode([&[1u8][..], &[self.seed; 32]].concat());
        let signer = StandardSigner::new(&format!("PRIVATE+KEY+test.log+{id}+{body}")).unwrap();
        let mut note = Note::new(text.as_bytes(), &[]).unwrap();
        note.add_sigs(&[&signer]).unwrap();
        Ok(String::from_utf8(note.to_bytes()).unwrap())
    }
    fn last_signed(&self) -> Result<Option<(u64, [u8; 32])>, KeyError> {
        let Ok(text) = std::fs::read_to_string(&self.last) else { return Ok(None) };
        let (size, root) = text.split_once(' ').unwrap();
        Ok(Some((size.parse().unwrap(), hex::decode(root).unwrap().try_into().unwrap())))
    }
    fn data_key(&self, _: Option<&str>) -> Result<(String, [u8; 32]), KeyError> {
        Ok(("k1".into(), [7; 32]))
    }
}

fn keys(root: &Path) -> Arc<TestKeys> {
    Arc::new(TestKeys { last: root.join("last"), seed: 3 })
}
fn options() -> Options {
    Options { now_ms: 1, checkpoint_records: 100, checkpoint_every: Duration::from_secs(60) }
}
fn entry(n: u64) -> Entry {
    Entry {
        time_ms: 1000 + n,
        session: "s".into(),
        action: "read".into(),
        resource: format!("/f{n}"),
        ..Entry::default()
    }
}
fn written(root: &Path, n: u64) -> PathBuf {
    let dir = root.join("log");
    let log = Log::open(&dir, keys(root), options()).unwrap();
    for i in 0..n {
        let payload = serde_json::json!({ "n": i });
        log.append(entry(i), (i % 3 == 0).then_some(&payload), Durability::Logged).unwrap();
    }
    drop(log);
    dir
}
fn judged(root: &Path, dir: &Path) -> Verdict {
    let k = keys(root);
    let options = VerifyOptions { trusted_last: k.last_signed().unwrap(), ..VerifyOptions::default() };
    verify(dir, &k.verifier(), &options).unwrap()
}
fn files(dir: &Path, out: &mut Vec<PathBuf>) {
    for item in std::fs::read_dir(dir).unwrap() {
        let path = item.unwrap().path();
        if path.is_dir() {
            files(&path, out)
        } else if !path.ends_with("lock") {
            out.push(path)
        }
    }
}

#[test]
fn a_flipped_byte_in_any_file_fails_integrity() {
    let root = tempfile::tempdir().unwrap();
    let dir = written(root.path(), 600);
    let good = judged(root.path(), &dir);
    assert_eq!((good.integrity, good.size, good.problems.len()), ("ok", 600, 0), "{good:?}");
    let mut all = Vec::new();
    files(&dir, &mut all);
    assert!(all.len() >= 8, "{all:?}");
    for path in all {
        let bytes = std::fs::read(&path).unwrap();
        let step = (bytes.len() / 60).max(1);
        for i in (0..bytes.len()).step_by(step).chain([bytes.len() - 1]) {
            let mut bent = bytes.clone();
            bent[i] ^= 1;
            std::fs::write(&path, bent).unwrap();
            let k = keys(root.path());
            let failed = verify(&dir, &k.verifier(), &VerifyOptions::default())
                .map_or(true, |v| v.integrity == "failed");
            assert!(failed, "{} byte {i}", path.display());
        }
        std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        assert_eq!(judged(root.path(), &dir).integrity, "failed", "truncated {}", path.display());
        std::fs::write(&path, bytes).unwrap();
    }
    std::fs::write(dir.join("tile/stray"), "x").unwrap();
    assert_eq!(judged(root.path(), &dir).integrity, "failed");
}

#[test]
fn proofs_verify_and_a_changed_one_does_not() {
    let root = tempfile::tempdir().unwrap();
    let dir = written(root.path(), 600);
    let k = keys(root.path());
    let leaf = Reader::open(&dir).unwrap().query(Filter::default()).nth(300).unwrap().unwrap();
    let leaf = serde_json::to_vec(&serde_json::to_value(leaf).unwrap()).unwrap();
    let proof = prove(&dir, &k.verifier(), 300).unwrap();
    assert_eq!(verify_proof(&proof, &leaf, &k.verifier()).unwrap(), 300);
    assert!(verify_proof(&proof.replace("index 300", "index 301"), &leaf, &k.verifier()).is_err());
    let forger = TestKeys { last: root.path().join("other"), seed: 4 };
    assert!(verify_proof(&proof, &leaf, &forger.verifier()).is_err());
    let (_, payload) = Reader::open(&dir).unwrap().show(300, k.as_ref()).unwrap();
    assert_eq!(payload, Some(serde_json::json!({ "n": 300 })));
}

#[test]
fn what_a_full_disk_left_half_written_is_no_tampering_and_anything_else_is() {
    let root = tempfile::tempdir().unwrap();
    let dir = written(root.path(), 300);
    for name in ["checkpoint", "tile-0-001", "tile-entries-x001-000", "payload-000"] {
        std::fs::write(dir.join("tmp").join(name), "half").unwrap();
        assert_eq!(judged(root.path(), &dir).integrity, "ok", "{name}");
    }
    for name in ["tmp/tile-entries-000-mine", "tmp/notes", "tile-0-001"] {
        std::fs::write(dir.join(name), "half").unwrap();
        assert_eq!(judged(root.path(), &dir).integrity, "failed", "{name}");
        std::fs::remove_file(dir.join(name)).unwrap();
    }
}

#[test]
fn an_old_copy_of_the_directory_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let dir = written(root.path(), 300);
    let old = root.path().join("old");
    assert!(Command::new("cp").arg("-a").arg(&dir).arg(&old).status().unwrap().success());
    written(root.path(), 50);
    assert_eq!(judged(root.path(), &old).integrity, "failed");
    assert!(matches!(Log::open(&old, keys(root.path()), options()), Err(LogError::Corrupt { .. })));
}

#[test]
fn a_second_writer_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("log");
    let _log = Log::open(&dir, keys(root.path()), options()).unwrap();
    assert!(matches!(Log::open(&dir, keys(root.path()), options()), Err(LogError::Locked { .. })));
}

#[test]
fn concurrent_synced_appends_all_return_and_verify() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("log");
    let log = Log::open(&dir, keys(root.path()), options()).unwrap();
    std::thread::scope(|s| {
        (0..16).for_each(|_| {
            s.spawn(|| {
                (0..50).for_each(|_| {
                    log.append(entry(0), None, Durability::Synced).unwrap();
                })
            });
        })
    });
    drop(log);
    let v = judged(root.path(), &dir);
    assert_eq!((v.integrity, v.size), ("ok", 800), "{v:?}");
}

#[test]
fn a_log_that_is_being_written_verifies_at_any_moment() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("log");
    let log = Log::open(&dir, keys(root.path()), options()).unwrap();
    let is_done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|s| {
        s.spawn(|| {
            for n in 0..40_000 {
                log.append(entry(n), (n % 7 == 0).then_some(&"p".repeat(200).into()), Durability::Logged)
                    .unwrap();
                if is_done.load(std::sync::atomic::Ordering::Relaxed) {
                    break;
                }
            }
        });
        for _ in 0..40 {
            let look = Look::at(&dir).unwrap();
            let k = keys(root.path());
            let options =
                VerifyOptions { trusted_last: k.last_signed().unwrap(), ..VerifyOptions::default() };
            let verdict = look.verify(&k.verifier(), &options);
            // The writer goes on to its end if this one fails.
            if !verdict.as_ref().is_ok_and(|v| v.integrity == "ok" && v.completeness == "ok") {
                is_done.store(true, std::sync::atomic::Ordering::Relaxed);
                panic!("{verdict:?}");
            }
        }
        is_done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    // What lay there before is found all the same.
    std::fs::write(dir.join("pending/00000000000000999999"), "").unwrap();
    assert_eq!(judged(root.path(), &dir).integrity, "failed");
}

/// Not a claim: the process that `kill_9_loses_no_acknowledged_record` kills.
#[test]
fn child_writer() {
    let Ok(root) = std::env::var("AUDIT_CHILD") else { return };
    let root = PathBuf::from(root);
    let log = Log::open(&root.join("log"), keys(&root), options()).unwrap();
    loop {
        let seq = log.append(entry(5), Some(&serde_json::json!("p")), Durability::Logged).unwrap();
        println!("\nack {seq}");
    }
}

#[test]
fn kill_9_loses_no_acknowledged_record() {
    let root = tempfile::tempdir().unwrap();
    let end = std::time::Instant::now() + Duration::from_secs(15);
    let mut rounds = 0u64;
    while rounds < 100 && std::time::Instant::now() < end {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_writer", "--nocapture"])
            .env("AUDIT_CHILD", root.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok)
            .filter(|l| l.starts_with("ack "));
        let acked = lines.by_ref().nth((rounds * 37 % 400) as usize).expect("the child writes");
        child.kill().unwrap();
        let last = lines.last().unwrap_or(acked);
        child.wait().unwrap();
        let last: u64 = last[4..].parse().unwrap_or(0);
        let log = Log::open(&root.path().join("log"), keys(root.path()), options()).unwrap();
        assert!(log.size() > last, "{last} was acknowledged, {} are there", log.size());
        drop(log);
        let v = judged(root.path(), &root.path().join("log"));
        assert_eq!(v.integrity, "ok", "{v:?}");
        rounds += 1;
    }
    println!("{rounds} kills");
    assert!(rounds > 3);
}

#[test]
fn a_query_between_two_moments_has_the_records_of_that_time_and_no_others() {
    let root = tempfile::tempdir().unwrap();
    let dir = written(root.path(), 600);
    let times = |since, until| -> Vec<String> {
        let filter = Filter { since, until, ..Filter::default() };
        Reader::open(&dir).unwrap().query(filter).map(|leaf| leaf.unwrap().entry.resource).collect()
    };
    assert_eq!(times(Some(1_300), Some(1_301)), ["/f300", "/f301"]);
    assert_eq!(times(Some(1_600), None), Vec::<String>::new());
    assert_eq!(times(None, Some(u64::MAX)).len(), times(None, None).len());
}

/// First, last, what of them, and whether nothing readable comes after.
type Range = (u64, u64, Part, bool);

/// The records that are given, and what is said to be damaged.
fn salvaged(dir: &Path) -> (Vec<u64>, Vec<Range>) {
    let (mut given, mut damaged) = (Vec::new(), Vec::new());
    for found in Reader::open(dir).unwrap().salvage(0, Filter::default()).unwrap() {
        match found {
            Found::Leaf(leaf) => given.push(leaf.seq),
            Found::Damaged(d) => damaged.push((d.first, d.last, d.part, d.at_end)),
        }
    }
    (given, damaged)
}

#[test]
fn what_can_be_read_of_a_damaged_log_is_given_and_the_rest_named() {
    let root = tempfile::tempdir().unwrap();
    let dir = written(root.path(), 600);
    assert_eq!(salvaged(&dir), ((0..600).collect(), Vec::new()));

    // One byte of the text of a leaf: the record alone is lost, wherever it stands.
    for (file, seq) in
        [("tile/entries/000", 20), ("tile/entries/001", 511), ("pending/00000000000000000002", 540)]
    {
        let path = dir.join(file);
        let bytes = std::fs::read(&path).unwrap();
        let name = format!("\"seq\":{seq},");
        let at = bytes.windows(name.len()).position(|w| w == name.as_bytes()).unwrap();
        let mut bent = bytes.clone();
        bent[at] ^= 1;
        std::fs::write(&path, &bent).unwrap();
        let (given, damaged) = salvaged(&dir);
        assert_eq!(given, (0..600).filter(|n| *n != seq).collect::<Vec<_>>(), "{file}");
        assert_eq!(damaged, [(seq, seq, Part::Record, false)], "{file}");
        std::fs::write(&path, bytes).unwrap();
    }

    // A leaf that reads well and says something else is given, and named.
    let path = dir.join("tile/entries/000");
    let bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(6).position(|w| w == b"\"/f37\"").unwrap();
    let mut bent = bytes.clone();
    bent[at + 2] = b'g';
    std::fs::write(&path, bent).unwrap();
    let (given, damaged) = salvaged(&dir);
    assert_eq!((given.len(), damaged), (600, vec![(37, 37, Part::Record, false)]));
    // A tile that is gone, or of which the end is.
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let (given, damaged) = salvaged(&dir);
    let (first, last, ..) = damaged[0];
    assert!(damaged.len() == 1 && (100..156).contains(&first) && last == 255, "{damaged:?}");
    assert_eq!(given, (0..first).chain(256..600).collect::<Vec<_>>());
    std::fs::remove_file(&path).unwrap();
    assert_eq!(salvaged(&dir), ((256..600).collect(), vec![(0, 255, Part::Record, false)]));
    std::fs::write(&path, &bytes).unwrap();

    // The payloads alone: every record is there.
    let path = dir.join("payload/001");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    assert_eq!(salvaged(&dir), ((0..600).collect(), vec![(256, 511, Part::Payload, false)]));
    std::fs::write(&path, bytes).unwrap();

    // The end of the newest segment may be half written: that it is damaged is not certain yet.
    let path = dir.join("pending/00000000000000000002");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    let (given, damaged) = salvaged(&dir);
    assert_eq!(given, (0..599).collect::<Vec<_>>());
    assert_eq!(damaged, [(599, 599, Part::Record, true)]);
    let new = Reader::open(&dir).unwrap().follow(590).poll().unwrap();
    assert_eq!(new.len(), 9, "what may be half written waits: {new:?}");
}
