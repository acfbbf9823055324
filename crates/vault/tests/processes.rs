//! The vault as a real process: what it signs, refuses, survives and hides.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use chaperone_capability::{
    Context, Issue, Possession, Request, SigningKey, VerifyingKey, mint, thumbprint, verify,
};
use chaperone_vault::*;
use tlog_tiles::{Hash, HashReader, prove_tree, record_hash, stored_hashes_for_record_hash, tree_hash};

fn exe() -> PathBuf {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.join("examples/vault_process")
}

fn spawn(dir: &Path) -> Result<VaultClient, VaultError> {
    VaultClient::spawn::<&str>(&exe(), &[], dir)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A log in memory, to take roots and proofs from.
#[derive(Default)]
struct Log(Vec<Hash>, u64);

impl HashReader for Log {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, tlog_tiles::Error> {
        Ok(indexes.iter().map(|index| self.0[*index as usize]).collect())
    }
}

impl Log {
    fn push(&mut self, entry: &str) {
        let new = stored_hashes_for_record_hash(self.1, record_hash(entry.as_bytes()), self).unwrap();
        self.0.extend(new);
        self.1 += 1;
    }
    fn of(entries: impl IntoIterator<Item = String>) -> Self {
        let mut log = Self::default();
        entries.into_iter().for_each(|entry| log.push(&entry));
        log
    }
    fn root(&self) -> [u8; 32] {
        tree_hash(self.1, self).unwrap().0
    }
    fn proof(&self, from: u64) -> Vec<[u8; 32]> {
        if from == 0 || from == self.1 {
            return Vec::new();
        }
        prove_tree(self.1, from, self).unwrap().into_iter().map(|hash| hash.0).collect()
    }
}

fn numbered(count: u64) -> Log {
    Log::of((0..count).map(|n| n.to_string()))
}

fn code<T>(result: Result<T, VaultError>) -> String {
    result.map_or_else(|error| error.code().to_owned(), |_| "ok".to_owned())
}

#[test]
fn a_capability_signed_by_the_vault_verifies_and_too_long_or_foreign_ones_are_not_signed() {
    let dir = tempfile::tempdir().unwrap();
    let vault = spawn(&dir.path().join("vault")).unwrap();
    let signer = CapabilitySigner(&vault);
    let jkt = thumbprint(SigningKey::from_bytes(&[2; 32]).verifying_key().as_bytes());
    let request =
        Request::parse(br#"{"sub":"a","permissions":[{"action":"read","path":"/workspace/**"}]}"#).unwrap();
    let issue = Issue { session: "s1", jti: "j", now: now(), jkt: Some(&jkt) };
    let token = mint(&request, &issue, &signer).unwrap();
    let key: [u8; 32] = hex::decode(&vault.hello().issuer_key).unwrap().try_into().unwrap();
    let issuer = format!("chaperone:{}", vault.hello().install_id);
    let context = Context {
        issuer: &issuer,
        issuer_key: &VerifyingKey::from_bytes(&key).unwrap(),
        now: now(),
        session: "s1",
        possession: Possession::Proven(&jkt),
        is_revoked: &|_| false,
    };
    assert!(verify(token.as_str(), &context).is_ok());
    let early = Issue { now: now() + 100_000, ..issue };
    assert!(mint(&request, &early, &signer).is_err(), "it would be valid for longer than 12 hours from now");
    assert_eq!(code(vault.sign_capability(r#"{"iss":"chaperone:other"}"#)), "vault_claims_refused");
}

#[test]
fn a_tree_that_extends_the_last_one_is_signed_and_a_rewritten_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("vault");
    let vault = spawn(&dir).unwrap();
    let (three, seven) = (numbered(3), numbered(7));
    let note = vault.sign_checkpoint(3, three.root(), &[]).unwrap();
    let verifier = signed_note::StandardVerifier::new(&vault.hello().checkpoint_vkey).unwrap();
    let verifiers = signed_note::VerifierList::new(vec![Box::new(verifier)]);
    assert_eq!(
        signed_note::Note::from_bytes(note.as_bytes()).unwrap().verify(&verifiers).unwrap().0.len(),
        1
    );
    assert!(note.starts_with(&format!("{}\n3\n", vault.hello().origin)));
    assert_eq!(vault.sign_checkpoint(3, three.root(), &[]).unwrap(), note);

    let rewritten = Log::of((0..7).map(|n| if n == 1 { "forged".into() } else { n.to_string() }));
    for (size, root, proof) in [
        (7, rewritten.root(), rewritten.proof(3)),
        (7, seven.root(), Vec::new()),
        (7, seven.root(), seven.proof(4)),
        (3, rewritten.root(), Vec::new()),
        (2, numbered(2).root(), Vec::new()),
        (0, [0; 32], Vec::new()),
    ] {
        assert_eq!(code(vault.sign_checkpoint(size, root, &proof)), "vault_tree_forked", "{size}");
    }
    vault.sign_checkpoint(7, seven.root(), &seven.proof(3)).unwrap();
    drop(vault);
    let vault = spawn(&dir).unwrap();
    assert_eq!(vault.last_signed().unwrap(), Some(LastSigned { size: 7, root: seven.root() }));
    assert_eq!(code(vault.sign_checkpoint(3, three.root(), &[])), "vault_tree_forked");
}

/// Two brokers' worth of histories compete while the vault is killed at random points: for no size are two roots signed.
#[test]
fn a_log_is_closed_only_by_who_knows_its_last_tree_and_a_new_one_begins() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("vault");
    let vault = spawn(&dir).unwrap();
    let log = numbered(7);
    vault.sign_checkpoint(7, log.root(), &[]).unwrap();
    let other = LastSigned { size: 7, root: [1; 32] };
    assert!(vault.close_log(None).is_err() && vault.close_log(Some(other)).is_err());
    assert!(vault.sign_checkpoint(3, numbered(3).root(), &[]).is_err());
    vault.close_log(vault.last_signed().unwrap()).unwrap();
    assert_eq!(vault.last_signed().unwrap(), None);
    vault.sign_checkpoint(3, numbered(3).root(), &[]).unwrap();
    drop(vault);
    let vault = spawn(&dir).unwrap();
    assert_eq!(vault.last_signed().unwrap().unwrap().size, 3);
}

#[test]
fn killed_at_random_points_it_never_signs_two_roots_for_one_size() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("vault");
    let mut signed: HashMap<u64, [u8; 32]> = HashMap::new();
    let log = |branch: u64, size: u64| {
        Log::of((0..size).map(|n| if n < branch { n.to_string() } else { format!("{branch}:{n}") }))
    };
    let mut total = 0;
    for round in 0..25u64 {
        let vault = spawn(&dir).unwrap();
        let last = vault.last_signed().unwrap();
        let from = last.map_or(0, |last| last.size);
        for (size, root) in &signed {
            assert!(*size <= from, "a released signature for {size} was forgotten");
            if *size == from {
                assert_eq!(last.map(|last| last.root), Some(*root));
            }
        }
        let pid = rustix::process::Pid::from_raw(vault.pid() as i32).unwrap();
        let killer = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_micros(500 + (round * 7919) % 9000));
            rustix::process::kill_process(pid, rustix::process::Signal::KILL)
        });
        for step in 1.. {
            let size = from + step;
            // The same sizes are tried with two different trees.
            let results = [numbered(size), log(from, size)].map(|tree| {
                let base = if step == 1 { from } else { size - 1 };
                (tree.root(), vault.sign_checkpoint(size, tree.root(), &tree.proof(base)))
            });
            for (root, result) in &results {
                if result.is_ok() {
                    total += 1;
                    let before = signed.insert(size, *root);
                    assert!(before.is_none_or(|before| before == *root), "two roots signed for {size}");
                }
            }
            if !vault.is_alive() {
                break;
            }
        }
        assert_eq!(killer.join().unwrap(), Ok(()));
        assert_eq!(code(vault.fingerprint(&[[0; 32]])), "vault_dead");
    }
    assert!(total > 0, "nothing was signed in any round");
}

#[test]
fn fingerprints_are_keyed_stable_and_different_in_another_vault() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    let first = spawn(&one).unwrap().fingerprint(&[[1; 32], [2; 32]]).unwrap();
    assert_eq!(spawn(&one).unwrap().fingerprint(&[[1; 32], [2; 32]]).unwrap(), first);
    assert_ne!(first[0], first[1]);
    assert_ne!(spawn(&two).unwrap().fingerprint(&[[1; 32]]).unwrap()[0], first[0]);
    let full = vec![[7; 32]; MAX_FINGERPRINTS];
    assert_eq!(spawn(&one).unwrap().fingerprint(&full).unwrap().len(), MAX_FINGERPRINTS);
}

#[test]
fn a_data_key_comes_back_by_its_id_and_not_after_erasure_nor_in_the_place_of_another() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("vault");
    let vault = spawn(&dir).unwrap();
    let (a, a_key) = vault.data_key(None).unwrap();
    let (b, b_key) = vault.data_key(None).unwrap();
    assert_ne!(a_key, b_key);
    assert_eq!(vault.data_key(Some(&a)).unwrap().1, a_key);
    let file = |id: &str| dir.join(format!("data-{id}.sealed"));
    std::fs::copy(file(&b), file(&a)).unwrap();
    assert_eq!(code(vault.data_key(Some(&a))), "vault_unsealable");
    vault.erase_data_key(&b).unwrap();
    assert_eq!(code(vault.data_key(Some(&b))), "vault_no_data_key");
    assert_eq!(code(vault.data_key(Some("../../root"))), "vault_protocol");
}

#[test]
fn swapped_records_and_a_directory_rolled_back_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("vault");
    let vault = spawn(&dir).unwrap();
    vault.sign_checkpoint(3, numbered(3).root(), &[]).unwrap();
    drop(vault);
    let (issuer, state) = (dir.join("issuer.sealed"), dir.join("state.sealed"));
    let (true_issuer, old_state) = (std::fs::read(&issuer).unwrap(), std::fs::read(&state).unwrap());
    std::fs::copy(dir.join("approval.sealed"), &issuer).unwrap();
    assert_eq!(code(spawn(&dir)), "vault_unsealable");
    std::fs::write(&issuer, &true_issuer).unwrap();
    let vault = spawn(&dir).unwrap();
    vault.sign_checkpoint(7, numbered(7).root(), &numbered(7).proof(3)).unwrap();
    drop(vault);
    let new_state = std::fs::read(&state).unwrap();
    std::fs::write(&state, &old_state).unwrap();
    assert_eq!(code(spawn(&dir)), "vault_rolled_back");
    std::fs::remove_file(&state).unwrap();
    assert_eq!(code(spawn(&dir)), "vault_file_missing");
    std::fs::write(&state, &new_state).unwrap();
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&state, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(code(spawn(&dir)), "ok");
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(code(spawn(&dir)), "vault_open_to_others");
}

#[test]
fn one_process_at_a_time_has_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    let _held = spawn(dir.path().join("vault").as_path()).unwrap();
    assert_eq!(code(spawn(dir.path().join("vault").as_path())), "vault_in_use");
}

#[test]
fn a_step_up_needs_the_pin_for_this_action_once() {
    let dir = tempfile::tempdir().unwrap();
    let vault = spawn(&dir.path().join("vault")).unwrap();
    let digest = [5; 32];
    let record = ApprovalRecord {
        id: "a1".into(),
        session: "s1".into(),
        action_digest: hex::encode(digest),
        effect: Effect::StepUp,
        answer: Answer::Approve,
        scope: "once".into(),
        obligations: vec![],
        time: now(),
        expires: now() + 60,
    };
    assert_eq!(code(vault.sign_approval(&record, None)), "pin_not_set");
    assert_eq!(code(vault.pin_set(None, "1234")), "pin_length");
    vault.pin_set(None, "correct horse").unwrap();
    assert_eq!(code(vault.sign_approval(&record, None)), "pin_required");
    assert_eq!(code(vault.pin_set(None, "other horse")), "pin_required");
    let other = vault.pin_verify("correct horse", [6; 32]).unwrap();
    assert_eq!(code(vault.sign_approval(&record, Some(other))), "pin_required");
    let proof = vault.pin_verify("correct horse", digest).unwrap();
    let signed = vault.sign_approval(&record, Some(proof)).unwrap();
    assert_eq!(code(vault.sign_approval(&record, Some(proof))), "pin_required");
    let key: [u8; 32] = hex::decode(&vault.hello().approval_key).unwrap().try_into().unwrap();
    assert_eq!(verify_approval(&key, &signed, &digest, now()).unwrap(), record);
    assert_eq!(verify_approval(&key, &signed, &[6; 32], now()), Err(ApprovalError::OtherAction));
    assert_eq!(verify_approval(&key, &signed, &digest, now() + 61), Err(ApprovalError::Expired));
    let unproven = SignedApproval { pin: false, ..signed };
    assert_eq!(verify_approval(&key, &unproven, &digest, now()), Err(ApprovalError::BadSignature));
    let ask = ApprovalRecord { effect: Effect::Ask, ..record };
    assert!(!vault.sign_approval(&ask, None).unwrap().pin);
}

#[test]
fn wrong_pins_lock_and_a_restart_does_not_unlock() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("vault");
    let vault = spawn(&dir).unwrap();
    vault.pin_set(None, "correct horse").unwrap();
    let mut last = String::new();
    for _ in 0..12 {
        last = code(vault.pin_verify("wrong horse", [0; 32]));
    }
    assert_eq!(last, "pin_locked");
    drop(vault);
    assert_eq!(code(spawn(&dir).unwrap().pin_verify("correct horse", [0; 32])), "pin_locked");
}

#[test]
fn garbage_gets_an_error_and_the_vault_stays_up() {
    let dir = tempfile::tempdir().unwrap();
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let (_slow, slow_theirs) = UnixStream::pair().unwrap();
    let mut child = Command::new(exe())
        .arg(dir.path().join("vault"))
        .stdin(OwnedFd::from(theirs))
        .stdout(OwnedFd::from(slow_theirs))
        .spawn()
        .unwrap();
    let mut ask = |body: &[u8]| {
        ours.write_all(&(body.len() as u32).to_be_bytes()).unwrap();
        ours.write_all(body).unwrap();
        let mut length = [0; 4];
        ours.read_exact(&mut length).unwrap();
        let mut answer = vec![0; u32::from_be_bytes(length) as usize];
        ours.read_exact(&mut answer).unwrap();
        String::from_utf8(answer).unwrap()
    };
    for garbage in [
        b"".as_slice(),
        b"\xff\xfe",
        b"{}",
        b"null",
        br#"{"export_key":{"id":"issuer"}}"#,
        br#"{"hello":{},"hello":{}}"#,
        br#"{"hello":{"extra":1}}"#,
        br#"{"fingerprint":{"hashes":["00"]}}"#,
        br#"{"sign_checkpoint":{"size":-1,"root":"","proof":[]}}"#,
        &[b'['; 200_000],
    ] {
        assert!(ask(garbage).contains("vault_protocol"));
        assert!(ask(br#"{"hello":{}}"#).contains("install_id"));
    }
    ours.write_all(&u32::MAX.to_be_bytes()).unwrap();
    assert!(
        !child.wait().unwrap().success(),
        "a frame without an end ends the vault, not the machine's memory"
    );
}

#[test]
fn another_process_of_the_same_user_cannot_read_the_vaults_memory() {
    if !rustix::process::geteuid().is_root() {
        let dir = tempfile::tempdir().unwrap();
        let vault = spawn(&dir.path().join("vault")).unwrap();
        assert!(std::fs::File::open(format!("/proc/{}/mem", vault.pid())).is_err());
        return;
    }
    // Root may read everything: run both sides as an ordinary user.
    const NOBODY: u32 = 65534;
    let dir = tempfile::Builder::new().prefix("vault").tempdir_in("/tmp").unwrap();
    let (bin, home) = (dir.path().join("vault_process"), dir.path().join("home"));
    std::fs::copy(exe(), &bin).unwrap();
    std::fs::create_dir(&home).unwrap();
    for path in [dir.path(), &home] {
        std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let (_slow, slow_theirs) = UnixStream::pair().unwrap();
    let mut vault = Command::new(&bin)
        .arg(home.join("vault"))
        .uid(NOBODY)
        .gid(NOBODY)
        .stdin(OwnedFd::from(theirs))
        .stdout(OwnedFd::from(slow_theirs))
        .spawn()
        .unwrap();
    ours.write_all(b"\0\0\0\x0c{\"hello\":{}}").unwrap();
    let mut first = [0; 8];
    ours.read_exact(&mut first).unwrap();
    let mut twin = Command::new("sleep").arg("60").uid(NOBODY).gid(NOBODY).spawn().unwrap();
    let probe = |pid: u32| {
        let probe = format!("exec 3</proc/{pid}/mem");
        Command::new("sh")
            .args(["-c", &probe])
            .uid(NOBODY)
            .gid(NOBODY)
            .stderr(std::process::Stdio::null())
            .status()
            .unwrap()
    };
    let (vaults, twins) = (probe(vault.id()), probe(twin.id()));
    twin.kill().unwrap();
    twin.wait().unwrap();
    drop(ours);
    assert!(vault.wait().unwrap().success(), "the vault ends with its broker");
    assert!(twins.success(), "the unprotected twin is readable, so the probe works");
    assert!(!vaults.success());
}

#[test]
fn an_attempt_at_the_network_kills_the_confined_process() {
    use std::os::unix::process::ExitStatusExt;
    let free = Command::new(exe()).arg("--connect").status().unwrap();
    let confined = Command::new(exe()).arg("--connect-confined").status().unwrap();
    assert!(free.success(), "the unprotected arm gets through the call");
    assert_eq!(confined.signal(), Some(31), "SIGSYS");
}

#[test]
fn every_thread_of_a_serving_vault_is_filtered() {
    let dir = tempfile::tempdir().unwrap();
    let vault = spawn(&dir.path().join("vault")).unwrap();
    vault.fingerprint(&[[0; 32]]).unwrap();
    vault.last_signed().unwrap();
    let mut modes = Vec::new();
    for _ in 0..200 {
        modes = std::fs::read_dir(format!("/proc/{}/task", vault.pid()))
            .unwrap()
            .map(|task| std::fs::read_to_string(task.unwrap().path().join("status")).unwrap())
            .map(|status| status.lines().any(|line| line == "Seccomp:\t2"))
            .collect();
        if modes.iter().all(|filtered| *filtered) {
            break;
        }
        std::thread::yield_now();
    }
    assert_eq!(modes, [true, true, true]);
}
