use super::*;

/// Names that programs really ask for.
const BENIGN: &[&str] = &[
    "github.com",
    "api.github.com",
    "raw.githubusercontent.com",
    "objects.githubusercontent.com",
    "codeload.github.com",
    "github-releases.githubusercontent.com",
    "pipelines.actions.githubusercontent.com",
    "registry.npmjs.org",
    "pypi.org",
    "files.pythonhosted.org",
    "index.crates.io",
    "static.crates.io",
    "static.rust-lang.org",
    "proxy.golang.org",
    "sum.golang.org",
    "rubygems.org",
    "repo1.maven.org",
    "repo.maven.apache.org",
    "deb.debian.org",
    "security.ubuntu.com",
    "registry-1.docker.io",
    "auth.docker.io",
    "production.cloudflare.docker.com",
    "docker-images-prod.6aa30f8b08e16409b46e0173d6de2f56.r2.cloudflarestorage.com",
    "ghcr.io",
    "quay.io",
    "us-central1-docker.pkg.dev",
    "d111111abcdef8.cloudfront.net",
    "d2nxq2uap88usk.cloudfront.net",
    "dqlzvjvhnv4l6.cloudfront.net",
    "my-bucket.s3.amazonaws.com",
    "my-bucket.s3.us-west-2.amazonaws.com",
    "prod-us-east-1-starport-layer-bucket.s3.us-east-1.amazonaws.com",
    "aws-glue-assets-123456789012-eu-central-1.s3.dualstack.eu-central-1.amazonaws.com",
    "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
    "a1b2c3d4e5.execute-api.us-east-1.amazonaws.com",
    "0123456789ABCDEF0123456789ABCDEF.gr7.us-east-1.eks.amazonaws.com",
    "9A3F0C4D5E6B7A8C9D0E1F2A3B4C5D6E.yl4.eu-west-1.eks.amazonaws.com",
    "search-logs-prod-abcdefghijklm2nopqrstuv3wx.us-east-1.es.amazonaws.com",
    "mydb.c9akciq32rlq.us-east-1.rds.amazonaws.com",
    "ec2-203-0-113-25.compute-1.amazonaws.com",
    "a3k7odshaiipe8-ats.iot.us-east-1.amazonaws.com",
    "ip-10-0-12-34.eu-west-1.compute.internal",
    "myaccount.blob.core.windows.net",
    "myaccount.privatelink.blob.core.windows.net",
    "md-hdd-0qwcmzfj3j2p.z34.blob.storage.azure.net",
    "login.microsoftonline.com",
    "4f8a0c2e-1b3d-4c5e-8f70-92a1b3c4d5e6.ods.opinsights.azure.com",
    "myaks-dns-1a2b3c4d.hcp.westeurope.azmk8s.io",
    "my-vault.vault.azure.net",
    "my-server.database.windows.net",
    "contoso-my.sharepoint.com",
    "myresource.openai.azure.com",
    "selector1-contoso-com._domainkey.contoso.onmicrosoft.com",
    "storage.googleapis.com",
    "r3---sn-4g5e6nz7.googlevideo.com",
    "rr5---sn-h0jeenek.googlevideo.com",
    "lh3.googleusercontent.com",
    "doc-0c-5c-docs.googleusercontent.com",
    "my-service-abc123xyz0-uc.a.run.app",
    "fonts.gstatic.com",
    "connectivitycheck.gstatic.com",
    "my-app-git-main-9f8s7d6f5-team.vercel.app",
    "deploy-preview-42--my-site.netlify.app",
    "3f2a9c7e.my-project.pages.dev",
    "o4504136997928960.ingest.us.sentry.io",
    "http-intake.logs.datadoghq.com",
    "pkc-4nym6.us-east-1.aws.confluent.cloud",
    "cluster0-shard-00-00.ab1cd.mongodb.net",
    "_mongodb._tcp.cluster0.ab1cd.mongodb.net",
    "ep-cool-darkness-123456.us-east-2.aws.neon.tech",
    "abcdefghijklmnopqrst.supabase.co",
    "xy12345.us-east-1.snowflakecomputing.com",
    "redis-12345.c1.us-east-1-2.ec2.cloud.redislabs.com",
    "e28578.d.akamaiedge.net",
    "a1887.dscq.akamai.net",
    "www.apple.com.edgekey.net",
    "init.push.apple.com",
    "p42-contacts.icloud.com",
    "video-weaver.fra02.hls.ttvnw.net",
    "cdn-lfs-us-1.huggingface.co",
    "cdn-lfs.huggingface.co",
    "_acme-challenge.example.com",
    "_dmarc.example.com",
    "_25._tcp.mail.example.com",
    "xn--bcher-kva.example",
    "xn--fiqs8s.xn--fiqs8s",
    "www.xn--80ak6aa92e.com",
    "xn--vermgensberater-ctb.example.de",
    "internationalization-and-localization.example.org",
    "donaudampfschifffahrtsgesellschaft.example.de",
    "llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogogoch.co.uk",
    "4.3.2.1.in-addr.arpa",
    "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",
    "kubernetes.default.svc.cluster.local",
    "prometheus-kube-prometheus-prometheus.monitoring.svc.cluster.local",
    "a1b2-203-0-113-4.ngrok-free.app",
    "k3v5q7x2m4n6p8r2t4w6y8z2a4c6e8g2.lambda-url.us-east-1.on.aws",
    "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi.ipfs.dweb.link",
];

fn host(text: &str) -> Host {
    Host::parse(text).unwrap()
}

fn ask(watch: &mut QueryWatch, name: &str, kind: RecordType, now_ms: u64) -> Verdict {
    let name = host(name);
    watch.query(registered_domain(&name).unwrap(), &name, kind, now_ms)
}

/// How many of a stream of names pass before the first suspicious one.
fn passed(names: impl IntoIterator<Item = String>) -> usize {
    let mut watch = QueryWatch::default();
    let names = names.into_iter().enumerate();
    names
        .take_while(|(n, name)| ask(&mut watch, name, RecordType::A, *n as u64 * 1000) == Verdict::Fine)
        .count()
}

/// Bytes without a pattern, the same in each run.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..len).map(next).collect()
}

/// Digits of so many bits each.
fn encode(data: &[u8], bits: u32, alphabet: &[u8]) -> String {
    let (mut window, mut filled, mut out) = (0u64, 0, String::new());
    for byte in data {
        window = window << 8 | u64::from(*byte);
        filled += 8;
        while filled >= bits {
            filled -= bits;
            out.push(char::from(alphabet[(window >> filled) as usize & ((1 << bits) - 1)]));
        }
    }
    out
}

const HEX: &[u8] = b"0123456789abcdef";
const BASE32: &[u8] = b"abcdefghijklmnopqrstuvwxyz234567";
const BASE64: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

#[test]
fn names_that_programs_need_are_fine() {
    assert!(BENIGN.len() >= 60);
    let mut watch = QueryWatch::default();
    for round in 0..50 {
        for name in BENIGN {
            for kind in [RecordType::A, RecordType::AAAA, RecordType::HTTPS] {
                assert_eq!(ask(&mut watch, name, kind, round * 20_000), Verdict::Fine, "{name}");
            }
        }
    }
}

/// The cases of hostname-exfiltration, each with its first query.
#[test]
fn a_secret_in_one_name_is_suspicious() {
    for (name, reason) in [
        ("JBSWY3DPEHPK3PXP.exfil.evil.com", Reason::HiddenText),
        ("c2VjcmV0X3Rva2VuXzEyMzQ1Njc4OTA.exfil.evil.com", Reason::EncodedLabel),
        ("ghp-xxxx.yyyyzzzz.aaaabbbb.ccccdddd.exfil.evil.com", Reason::EqualLabels),
        ("7365637265745f6170695f6b65795f3132333435.exfil.evil.com", Reason::HiddenText),
    ] {
        assert_eq!(
            ask(&mut QueryWatch::default(), name, RecordType::A, 0),
            Verdict::Suspicious(reason),
            "{name}"
        );
    }
    let text = b"The quick brown fox jumps over the lazy dog, with 13 pelicans";
    for chunk in text.chunks(12) {
        for label in [encode(chunk, 4, HEX), encode(chunk, 5, BASE32)] {
            let name = format!("{label}.t.evil.com");
            let verdict = ask(&mut QueryWatch::default(), &name, RecordType::A, 0);
            if label.bytes().any(|b| b.is_ascii_digit()) && label.len() >= 16 {
                assert_eq!(verdict, Verdict::Suspicious(Reason::HiddenText), "{name}");
            }
        }
    }
}

#[test]
fn a_stream_of_data_is_stopped_early() {
    let data = noise(6000);
    // Long labels, as dnscat2 and iodine write them: at once, or nearly.
    for (size, bits, alphabet) in [(30, 4, HEX), (35, 5, BASE32), (45, 6, BASE64)] {
        let names =
            data.chunks(size).map(|c| format!("d{}.t.evil.com", encode(c, bits, alphabet).trim_matches('-')));
        assert!(passed(names) <= 1, "{size} {bits}");
        let two = data.chunks_exact(2 * size).map(|c| {
            let (a, b) = c.split_at(size);
            let label = |c| encode(c, bits, alphabet).trim_matches('-').to_owned();
            format!("{}.{}.evil.com", label(a), label(b))
        });
        assert_eq!(passed(two), 0, "{size} {bits}");
    }
    // Small ones: by their number.
    for (size, bits, alphabet) in [(10, 4, HEX), (10, 5, BASE32), (12, 5, BASE32), (15, 6, BASE64)] {
        let names = data.chunks_exact(size).map(|c| format!("x{}x.evil.com", encode(c, bits, alphabet)));
        assert!(passed(names) <= 60, "{size} {bits}");
    }
    // Tiny ones, which look like words: by their number or volume, too.
    let names = data.chunks_exact(3).map(|c| format!("{}.evil.com", encode(c, 4, HEX)));
    assert_eq!(passed(names), 200);
}

#[test]
fn what_comes_slowly_adds_up() {
    let mut watch = QueryWatch::default();
    let names = (0..10_000u64).map(|n| format!("word{}.other{}.evil.com", n % 97, n / 97));
    let stopped = names.enumerate().position(|(n, name)| {
        ask(&mut watch, &name, RecordType::A, n as u64 * 60_000) == Verdict::Suspicious(Reason::Volume)
    });
    assert!(stopped.is_some_and(|n| n < 2000), "{stopped:?}");
}

#[test]
fn types_and_counts_of_tunnels_are_suspicious() {
    let mut watch = QueryWatch::default();
    for kind in [RecordType::NULL, RecordType::ANY, RecordType::Unknown(65399), RecordType::Unknown(1000)] {
        assert_eq!(ask(&mut watch, "a.com", kind, 0), Verdict::Suspicious(Reason::OddType));
    }
    let flood = |kind: RecordType, queries: usize| {
        let mut watch = QueryWatch::default();
        (0..queries).map(|n| ask(&mut watch, "www.evil.com", kind, n as u64)).last()
    };
    for kind in [RecordType::TXT, RecordType::MX, RecordType::SRV, RecordType::CNAME] {
        assert_eq!(flood(kind, 20), Some(Verdict::Fine));
        assert_eq!(flood(kind, 25), Some(Verdict::Suspicious(Reason::TypeFlood)));
    }
    assert_eq!(flood(RecordType::A, 3000), Some(Verdict::Fine));
    assert_eq!(flood(RecordType::A, 3001), Some(Verdict::Suspicious(Reason::ManyQueries)));
    let domains = (0..3000).map(|n| format!("www.domain{n}.com"));
    assert_eq!(passed(domains), MAX_DOMAINS);
    let long = format!("{}evil.com", "word.of.ten.".repeat(11));
    assert_eq!(ask(&mut watch, &long, RecordType::A, 0), Verdict::Suspicious(Reason::LongName));
}

#[test]
fn a_quiet_window_makes_good_again_and_the_clock_does_not_go_back() {
    let mut watch = QueryWatch::default();
    for n in 0..30 {
        let _ = ask(&mut watch, "www.evil.com", RecordType::TXT, 1_000_000 + n);
    }
    assert_ne!(ask(&mut watch, "www.evil.com", RecordType::A, 5), Verdict::Fine);
    assert_eq!(ask(&mut watch, "www.evil.com", RecordType::A, 1_000_000 + 2 * WINDOW_MS), Verdict::Fine);
}

#[test]
fn domains_are_what_somebody_registered() {
    for (name, domain) in [
        ("a.b.example.co.uk", "example.co.uk"),
        ("d111111abcdef8.cloudfront.net", "d111111abcdef8.cloudfront.net"),
        ("a.b.unknown-tld", "b.unknown-tld"),
        ("com", "com"),
        ("localhost", "localhost"),
    ] {
        assert_eq!(registered_domain(&host(name)), Some(domain));
    }
    assert_eq!(registered_domain(&host("127.0.0.1")), None);
}
