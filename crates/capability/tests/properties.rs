//! Properties over generated input: nothing panics, nothing is widened.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod support;
use chaperone_capability::*;
use proptest::prelude::*;
use support::*;

fn segment() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[ab*]{1,4}".prop_filter("no globstar inside", |text| !text.contains("**")),
        1 => Just("**".to_owned()),
        1 => Just("[*]".to_owned()),
    ]
}

fn pattern() -> impl Strategy<Value = String> {
    prop::collection::vec(segment(), 1..5).prop_map(|parts| format!("/{}", parts.join("/")))
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec("[ab*]{1,4}", 1..6).prop_map(|parts| format!("/{}", parts.join("/")))
}

/// The definition, word for word, with backtracking; the real matcher must agree with it.
fn matches_by_definition(pattern: &[&str], path: &[&str]) -> bool {
    fn segment(pattern: &[u8], text: &[u8]) -> bool {
        match pattern {
            [] => text.is_empty(),
            [b'[', b'*', b']', rest @ ..] => text.first() == Some(&b'*') && segment(rest, &text[1..]),
            [b'*', rest @ ..] => (0..=text.len()).any(|skip| segment(rest, &text[skip..])),
            [byte, rest @ ..] => text.first() == Some(byte) && segment(rest, &text[1..]),
        }
    }
    match pattern {
        [] => path.is_empty(),
        ["**"] => !path.is_empty(),
        ["**", rest @ ..] => (0..=path.len()).any(|skip| matches_by_definition(rest, &path[skip..])),
        [first, rest @ ..] => {
            path.first().is_some_and(|text| segment(first.as_bytes(), text.as_bytes()))
                && matches_by_definition(rest, &path[1..])
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_matcher_agrees_with_its_definition(pattern in pattern(), path in path()) {
        let parts = |text: &'static str| text[1..].split('/').collect::<Vec<_>>();
        let (pattern_text, path_text): (&'static str, &'static str) = (pattern.clone().leak(), path.clone().leak());
        let compiled = PathPattern::parse(&pattern).unwrap();
        prop_assert_eq!(compiled.matches(&path), matches_by_definition(&parts(pattern_text), &parts(path_text)));
    }

    #[test]
    fn a_covered_pattern_matches_nothing_more(wide in pattern(), narrow in pattern(), path in path()) {
        let (wide, narrow) = (PathPattern::parse(&wide).unwrap(), PathPattern::parse(&narrow).unwrap());
        if wide.covers(&narrow) && narrow.matches(&path) {
            prop_assert!(wide.matches(&path));
        }
    }

    #[test]
    fn an_escaped_path_matches_itself_alone(path in path(), other in path()) {
        let exact = PathPattern::parse(&escape_path(&path)).unwrap();
        prop_assert!(exact.matches(&path));
        prop_assert_eq!(exact.matches(&other), path == other);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_attenuated_token_never_permits_what_its_parent_did_not(
        wide in prop::collection::vec(pattern(), 1..4),
        narrow in prop::collection::vec(pattern(), 1..3),
        paths in prop::collection::vec(path(), 1..8),
    ) {
        let office = office();
        let root = office.root(wide.iter().map(|text| read(text)).collect(), None);
        let parent = office.verify(root.as_str()).unwrap();
        if let Ok(token) = office.narrow(root.as_str(), "c", only(narrow.iter().map(|text| read(text)).collect())) {
            let child = office.verify(token.as_str()).unwrap();
            for path in &paths {
                let target = Target::Path(path);
                if child.permits(Action::Read, &target).is_ok() {
                    prop_assert!(parent.permits(Action::Read, &target).is_ok());
                }
            }
        }
    }

    #[test]
    fn no_text_makes_parsing_panic(text in any::<String>(), bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let office = office();
        prop_assert!(office.verify(&text).is_err());
        prop_assert!(office.verify(&String::from_utf8_lossy(&bytes)).is_err());
        let _ = (Claims::parse(&bytes), Request::parse(&bytes), PathPattern::parse(&text));
        let claims = office.issuer.sign_claims(&bytes).unwrap();
        prop_assert!(office.verify(&claims).is_err());
    }

    #[test]
    fn damaging_a_good_token_never_panics_and_never_passes(at in any::<prop::sample::Index>(), with in any::<char>()) {
        let office = office();
        let good = office.root(vec![read("/a/**")], Some(1)).into_string();
        let mut damaged: Vec<char> = good.chars().collect();
        let at = at.index(damaged.len());
        prop_assume!(damaged[at] != with);
        damaged[at] = with;
        prop_assert!(office.verify(&damaged.iter().collect::<String>()).is_err());
    }
}
