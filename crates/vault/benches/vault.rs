//! `cargo bench -p chaperone-vault`: round trips to a real vault process.
use chaperone_vault::VaultClient;
use divan::Bencher;

fn main() {
    divan::main();
}

fn vault(dir: &std::path::Path) -> VaultClient {
    let mut exe = std::env::current_exe().expect("the path of this program");
    exe.pop();
    exe.pop();
    VaultClient::spawn::<&str>(&exe.join("examples/vault_process"), &[], dir)
        .expect("build it first: cargo build -p chaperone-vault --example vault_process")
}

#[divan::bench(args = [1, 64])]
fn fingerprint(bencher: Bencher<'_, '_>, count: usize) {
    let dir = tempfile::tempdir().expect("a folder");
    let vault = vault(&dir.path().join("vault"));
    let hashes = vec![[7; 32]; count];
    bencher.bench_local(|| vault.fingerprint(&hashes));
}

#[divan::bench]
fn sign_the_same_checkpoint(bencher: Bencher<'_, '_>) {
    let dir = tempfile::tempdir().expect("a folder");
    let vault = vault(&dir.path().join("vault"));
    bencher.bench_local(|| vault.sign_checkpoint(1, [1; 32], &[]));
}

#[divan::bench]
fn new_data_key(bencher: Bencher<'_, '_>) {
    let dir = tempfile::tempdir().expect("a folder");
    let vault = vault(&dir.path().join("vault"));
    bencher.bench_local(|| vault.data_key(None));
}
