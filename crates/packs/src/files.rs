//! The files by name, and as tables.

use std::fmt;

use serde::de::DeserializeOwned;

/// A file of the pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct File {
    /// From the root of the repository, as messages name it: `packs/services.toml`.
    pub name: &'static str,
    pub text: &'static str,
    /// The table that `text` holds, as the build wrote it.
    json: Option<&'static str>,
}

/// A file that is not there, or that is not what its reader takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct PackError {
    pub file: String,
    /// Counted from 1; 1 where the fault has no place.
    pub line: usize,
    pub message: String,
}

impl fmt::Display for PackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: line {}: {}", self.file, self.line, self.message)
    }
}

/// Every file, by name in order.
#[must_use]
pub fn files() -> &'static [File] {
    include!(concat!(env!("OUT_DIR"), "/files.rs"))
}

/// The files whose names begin with `directory`, in order.
pub fn below(directory: &str) -> impl Iterator<Item = &'static File> {
    files()
        .iter()
        .filter(move |file| file.name.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/')))
}

/// The text of the file of this name.
///
/// # Errors
/// There is no such file.
pub fn text(name: &str) -> Result<&'static str, PackError> {
    find(name).map(|file| file.text)
}

fn find(name: &str) -> Result<&'static File, PackError> {
    files().iter().find(|file| file.name == name).ok_or_else(|| PackError {
        file: name.to_owned(),
        line: 1,
        message: "no such file was compiled in".into(),
    })
}

/// The file of this name as a table.
///
/// # Errors
/// There is no such file, or it is no such table.
pub fn read<T: DeserializeOwned>(name: &str) -> Result<T, PackError> {
    let file = find(name)?;
    // A fault is told from the text, whose lines people know.
    match file.json.map(serde_json::from_str) {
        Some(Ok(table)) => Ok(table),
        _ => parse(name, file.text),
    }
}

/// The file of this name as a table, for what the program cannot be without: a policy of its own on disk can be wrong,
/// this text was compiled in and is read by a test of whoever asks for it.
///
/// # Panics
/// When there is no such file, or it is no such table.
#[must_use]
pub fn table<T: DeserializeOwned>(name: &str) -> T {
    read(name).unwrap_or_else(|wrong| panic!("{wrong}"))
}

/// A text in TOML as `T`; `file` is what errors name.
///
/// # Errors
/// It is not TOML, or no `T`.
pub fn parse<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, PackError> {
    toml::from_str(text).map_err(|wrong: toml::de::Error| PackError {
        file: file.to_owned(),
        line: wrong.span().map_or(1, |at| text.get(..at.start).unwrap_or("").matches('\n').count() + 1),
        message: wrong.message().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_by_directory_and_name() {
        assert!(below("packs/policies/default").any(|f| f.name == "packs/policies/default/floor.rego"));
        assert!(below("packs/policies/default").all(|f| !f.name.contains("/spreadsheet/")));
        assert_eq!(below("packs/polic").count(), 0);
        assert!(text("packs/services.toml").is_ok());
        assert_eq!(
            text("packs/none.toml").map_err(|e| e.to_string()),
            Err("packs/none.toml: line 1: no such file was compiled in".into())
        );
    }

    #[test]
    fn every_table_says_the_same_in_both_forms() {
        let mut tables = 0;
        for file in files().iter().filter(|file| file.name.ends_with(".toml")) {
            let json: toml::Table = serde_json::from_str(file.json.unwrap()).unwrap();
            assert_eq!(json, parse::<toml::Table>(file.name, file.text).unwrap(), "{}", file.name);
            tables += 1;
        }
        assert!(tables > 10, "{tables}");
        assert!(files().iter().all(|file| file.name.ends_with(".toml") == file.json.is_some()));
    }

    #[test]
    fn a_fault_names_file_and_line() {
        let wrong = parse::<toml::Table>("a.toml", "x = 1\ny = \n").unwrap_err();
        assert_eq!((wrong.file.as_str(), wrong.line), ("a.toml", 2));
    }
}
