//! What a name says of how its content is read.

/// All of a name that inspection heeds: what follows its first dot, as a rule its ending. The same bytes under two names that
/// agree in this are read alike; under others, a table may be read as plain text.
#[must_use]
pub fn endings(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or_default();
    name.split_once('.').map(|(_, endings)| endings.to_ascii_lowercase()).unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::{Detectors, Limits, inspect_bytes};

    #[test]
    fn the_same_bytes_are_read_alike_under_names_that_end_alike() {
        let detectors = Detectors::builtin().unwrap();
        let table = b"name,email\nAda,ada@mail.example.net\nBob,bob@mail.example.net\n".to_vec();
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        packed.write_all(&table).unwrap();
        let contents = [table, packed.finish().unwrap(), b"{\"mail\": \"ada@mail.example.net\"}".to_vec()];
        let pairs = [
            ("people", "x"),
            ("people.csv", "deep/X.CSV"),
            (".csv", "people.csv"),
            ("a.csv.gz", "b.csv.gz"),
            ("a.tgz", "b.tgz"),
            ("a.v2.json", "b.V2.json"),
        ];
        for (first, second) in pairs {
            assert_eq!(endings(first), endings(second));
            for content in &contents {
                let found = |name| inspect_bytes(&detectors, content, name, &Limits::default());
                let findings = |name| found(name).items.into_iter().map(|i| i.findings).collect::<Vec<_>>();
                assert_eq!(findings(first), findings(second), "{first} and {second}");
            }
        }
        assert_ne!(endings("people.csv"), endings("people.rs"));
    }
}
