//! `cargo bench -p chaperone-egress`: what finding the rules of a host costs among 10,000.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
use chaperone_egress::{AllowSet, Host, Rule};
use divan::{Bencher, black_box};

fn main() {
    divan::main();
}

fn rules() -> AllowSet {
    let hosts = (0..10_000).map(|n| match n % 4 {
        0 => format!("api{n}.example.com"),
        1 => format!("*.team{n}.example.org"),
        2 => format!("10.{}.{}.0/24", n / 256, n % 256),
        _ => format!("host{n}.internal.example.net"),
    });
    AllowSet::new(hosts.map(|host| Rule::of_host(&host).unwrap()).collect())
}

fn lookup(bencher: Bencher<'_, '_>, host: &str, found: bool) {
    let (set, host) = (rules(), Host::parse(host).unwrap());
    assert_eq!(set.permits_request(&host, 443, "GET", "/v1/users").is_some(), found);
    bencher.bench(|| set.permits_request(black_box(&host), 443, "GET", "/v1/users").is_some());
}

#[divan::bench]
fn exact_of_10_000(bencher: Bencher<'_, '_>) {
    lookup(bencher, "api4000.example.com", true);
}

#[divan::bench]
fn wildcard_of_10_000(bencher: Bencher<'_, '_>) {
    lookup(bencher, "a.b.c.team5001.example.org", true);
}

#[divan::bench]
fn network_of_10_000(bencher: Bencher<'_, '_>) {
    lookup(bencher, "10.7.2.9", true);
}

#[divan::bench]
fn unknown_of_10_000(bencher: Bencher<'_, '_>) {
    lookup(bencher, "www.unknown.example", false);
}

/// The longest name there is: 127 labels.
#[divan::bench]
fn longest_of_10_000(bencher: Bencher<'_, '_>) {
    lookup(bencher, &format!("{}a", "a.".repeat(126)), false);
}

#[divan::bench]
fn canonical_form_of_a_host(bencher: Bencher<'_, '_>) {
    bencher.bench(|| Host::parse(black_box("API.Example.com")));
}
