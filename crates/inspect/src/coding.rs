//! How values are written in documents.

/// How a value is written in its document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    Plain,
    /// A field; `delimiter` forces quotes when the new value needs them.
    Csv {
        quoted: bool,
        delimiter: u8,
    },
    JsonString,
    JsonNumber,
}

/// A value as it is written in its document.
pub(crate) fn coded(value: &[u8], coding: Coding) -> Vec<u8> {
    match coding {
        Coding::Plain => value.to_vec(),
        Coding::Csv { quoted, delimiter } => {
            let needs = quoted || value.iter().any(|b| *b == delimiter || matches!(b, b'"' | b'\n' | b'\r'));
            if !needs {
                return value.to_vec();
            }
            let mut out = vec![b'"'];
            for b in value {
                out.extend_from_slice(if *b == b'"' { b"\"\"" } else { std::slice::from_ref(b) });
            }
            out.push(b'"');
            out
        }
        // A string always serialises.
        Coding::JsonString | Coding::JsonNumber => {
            serde_json::to_vec(&String::from_utf8_lossy(value)).unwrap_or_else(|_| b"\"\"".to_vec())
        }
    }
}
