//! `cargo bench -p chaperone-capability`: what a request costs.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
use chaperone_capability::*;
use divan::{Bencher, black_box};

#[path = "../tests/support/mod.rs"]
mod support;
use support::*;

fn main() {
    divan::main();
}

fn permissions() -> Vec<PermissionClaim> {
    let mut list: Vec<_> =
        (0..20).map(|n| PermissionClaim::path(Action::Write, format!("/workspace/out{n}/*.xlsx"))).collect();
    list.push(read("/workspace/reports/**"));
    list
}

#[divan::bench]
fn verify_a_root(bencher: Bencher<'_, '_>) {
    let office = office();
    let token = office.root(permissions(), None);
    bencher.bench(|| office.verify(black_box(token.as_str())));
}

#[divan::bench]
fn verify_a_chain_of_three(bencher: Bencher<'_, '_>) {
    let office = office();
    let token = office.root(permissions(), None);
    let token = office.narrow(token.as_str(), "a", only(vec![read("/workspace/reports/*")])).unwrap();
    let token = office.narrow(token.as_str(), "b", only(vec![read("/workspace/reports/a*")])).unwrap();
    bencher.bench(|| office.verify(black_box(token.as_str())));
}

#[divan::bench]
fn permits_the_last_of_21_permissions(bencher: Bencher<'_, '_>) {
    let office = office();
    let verified = office.verify(office.root(permissions(), None).as_str()).unwrap();
    bencher.bench(|| {
        verified
            .permits(Action::Read, black_box(&Target::Path("/workspace/reports/2024/q1/sales.csv")))
            .is_ok()
    });
}

#[divan::bench]
fn recheck(bencher: Bencher<'_, '_>) {
    let office = office();
    let verified = office.verify(office.root(permissions(), None).as_str()).unwrap();
    bencher.bench(|| verified.recheck(black_box(NOW), &|_| false));
}

#[divan::bench]
fn mint_a_root(bencher: Bencher<'_, '_>) {
    let office = office();
    bencher.bench(|| office.root(permissions(), None));
}

#[divan::bench]
fn a_hostile_pattern_on_a_long_path(bencher: Bencher<'_, '_>) {
    let pattern = PathPattern::parse(&format!("/**/{}a*b/**/z", "a*".repeat(300))).unwrap();
    let path = format!("/{}", "a".repeat(250)).repeat(16);
    bencher.bench(|| pattern.matches(black_box(&path)));
}
