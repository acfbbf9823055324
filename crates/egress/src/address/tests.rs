use super::*;
use proptest::prelude::*;

fn of(text: &str) -> &'static str {
    class(text.parse().unwrap()).as_str()
}

#[test]
fn special_addresses_are_named() {
    for (text, name) in [
        ("8.8.8.8", "public"),
        ("172.15.255.255", "public"),
        ("172.32.0.0", "public"),
        ("100.63.255.255", "public"),
        ("0.0.0.0", "this_host"),
        ("0.1.2.3", "this_host"),
        ("127.0.0.1", "loopback"),
        ("127.255.255.254", "loopback"),
        ("10.0.0.1", "private"),
        ("172.16.0.1", "private"),
        ("172.31.255.255", "private"),
        ("192.168.1.1", "private"),
        ("100.64.0.1", "shared"),
        ("169.254.1.1", "link_local"),
        ("169.254.169.254", "metadata"),
        ("169.254.170.2", "metadata"),
        ("100.100.100.200", "metadata"),
        ("168.63.129.16", "metadata"),
        ("192.0.0.192", "metadata"),
        ("192.0.0.1", "reserved"),
        ("192.88.99.1", "reserved"),
        ("192.0.2.1", "documentation"),
        ("198.51.100.7", "documentation"),
        ("203.0.113.7", "documentation"),
        ("198.18.0.1", "benchmark"),
        ("198.19.255.255", "benchmark"),
        ("224.0.0.251", "multicast"),
        ("240.0.0.1", "reserved"),
        ("255.255.255.255", "broadcast"),
        ("2606:4700:4700::1111", "public"),
        ("::", "this_host"),
        ("::1", "loopback"),
        ("fc00::1", "private"),
        ("fd12:3456::1", "private"),
        ("fec0::1", "private"),
        ("fd00:ec2::254", "metadata"),
        ("fd20:ce::254", "metadata"),
        ("fe80::1", "link_local"),
        ("febf::1", "link_local"),
        ("ff02::1", "multicast"),
        ("2001:db8::1", "documentation"),
        ("3fff::1", "documentation"),
        ("2001:2::1", "benchmark"),
        ("2001:10::1", "reserved"),
        ("100::1", "reserved"),
        ("5f00::1", "reserved"),
        ("4000::1", "reserved"),
    ] {
        assert_eq!(of(text), name, "{text}");
    }
}

#[test]
fn an_ipv4_address_inside_an_ipv6_address_is_seen() {
    for (text, name) in [
        ("::ffff:127.0.0.1", "loopback"),
        ("::ffff:169.254.169.254", "metadata"),
        ("::ffff:8.8.8.8", "public"),
        ("::127.0.0.1", "loopback"),
        ("::10.0.0.1", "private"),
        ("::8.8.8.8", "reserved"),
        ("::ffff:0:10.0.0.1", "private"),
        ("64:ff9b::169.254.169.254", "metadata"),
        ("64:ff9b::8.8.8.8", "public"),
        ("64:ff9b:1::169.254.169.254", "metadata"),
        ("64:ff9b:1:a9fe:a9:fe00::", "metadata"),
        ("64:ff9b:1::8.8.8.8", "private"),
        ("2002:7f00:1::", "loopback"),
        ("2002:a9fe:a9fe::1", "metadata"),
        ("2002:808:808::", "reserved"),
        // Teredo: the client's address is stored inverted.
        ("2001:0:4136:e378:8000:63bf:5601:5601", "metadata"),
        ("2001:0:7f00:1::", "loopback"),
        ("2001:0:4136:e378:8000:63bf:f7f7:f7f7", "reserved"),
        ("2620:1::5efe:10.0.0.1", "private"),
        ("2620:1::200:5efe:127.0.0.1", "loopback"),
    ] {
        assert_eq!(of(text), name, "{text}");
    }
}

#[test]
fn every_notation_of_an_address_is_read() {
    for text in [
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "2130706433",
        "017700000001",
        "0x7f000001",
        "0X7F000001",
        "0x7f.1",
        "0177.0.0.1",
        "0177.0x0.0.1",
        "127.0.0.1.",
        "00000177.0.0.1",
        "0x7f.0.0.0x1",
        "127.0.0.0x1",
        "１２７.０.０.１",
        "127。0。0。1",
        "127．0．0．1",
        "127｡0｡0｡1",
        "①②⑦.⓪.⓪.①",
        "0x7ｆ.1",
        "1\u{ad}27.0.0.1",
        "𝟏𝟐𝟕.𝟎.𝟎.𝟏",
    ] {
        assert_eq!(parse(text), Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), "{text}");
    }
    for text in ["[::1]", "::1", "[0:0:0:0:0:0:0:1]", "[0000::0001]", "[::0.0.0.1]", "[：：1]"] {
        assert_eq!(parse(text), Some(IpAddr::V6(Ipv6Addr::LOCALHOST)), "{text}");
    }
    assert_eq!(parse("169.254.43518"), Some("169.254.169.254".parse().unwrap()));
    assert_eq!(parse("0xa9.0xfe.0251.254"), Some("169.254.169.254".parse().unwrap()));
    assert_eq!(parse("0"), Some("0.0.0.0".parse().unwrap()));
    assert_eq!(parse("0x"), Some("0.0.0.0".parse().unwrap()));
}

#[test]
fn what_is_no_address_is_not_taken_for_one() {
    for text in [
        "",
        ".",
        "..",
        "1.2.3.4.5",
        "256.0.0.1",
        "1.256.1",
        "4294967296",
        "1.2.3.256",
        "0x100000000",
        "08.0.0.1",
        "-1",
        "+1",
        "1.-2.3.4",
        "127.0.0.1 ",
        " 127.0.0.1",
        "127.0.0.1\n",
        "%31%32%37.0.0.1",
        "127%2e0.0.1",
        "1..2",
        "127.0.0.1..",
        "[::1",
        "::1]",
        "[]",
        "[127.0.0.1]",
        "fe80::1%eth0",
        "[fe80::1%25eth0]",
        "::1::",
        "a.b",
        "example.com",
        "0xg",
        "1_0.0.0.1",
        "127.0.0.1:80",
        "[::1]:80",
        "99999999999999999999999",
    ] {
        assert_eq!(parse(text), None, "{text}");
    }
}

proptest! {
    #[test]
    fn any_spelling_gives_the_same_address(bits: u32, form in 0..5) {
        let ip = Ipv4Addr::from_bits(bits);
        let [a, b, c, d] = ip.octets();
        let text = match form {
            0 => format!("{bits}"),
            1 => format!("{bits:#x}"),
            2 => format!("0{bits:o}"),
            3 => format!("{a:#X}.0{b:o}.{}", bits & 0xffff),
            _ => format!("{a}.{b:#x}.{c}.0{d:o}"),
        };
        prop_assert_eq!(parse(&text.replace("0X", "0x")), Some(IpAddr::V4(ip)));
        prop_assert_eq!(class(IpAddr::V6(ip.to_ipv6_mapped())), class(IpAddr::V4(ip)));
    }

    #[test]
    fn any_text_is_read_without_a_panic(text in ".{0,64}", bytes: [u8; 16]) {
        let _ = parse(&text);
        let ip = IpAddr::from(bytes);
        prop_assert_eq!(parse(&ip.to_string()), Some(ip));
        prop_assert!(!class(ip).as_str().is_empty());
    }
}
