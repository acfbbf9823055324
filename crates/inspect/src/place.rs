//! Where something stands. Decisions look at the types; the text is for people, and nothing reads it back: whoever sends something
//! chooses names in it, and could call a header `body`.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::shown::shown;

/// Where something stands, and in which reading of that: `body > base64 > gzip`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    pub spot: Spot,
    /// How the reading came about, outermost first; none where it stands as it is written.
    pub steps: Vec<Step>,
}

/// A part of what leaves, or of a file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Spot {
    /// A whole address, with or without its scheme.
    Url,
    /// The part of an address behind `?`, or a form.
    Query,
    /// The method of a request.
    Method,
    /// The value of a header, by its name.
    Header(String),
    /// The value of a header whose name is not written down.
    UnnamedHeader,
    /// The names of headers, one a line: programs choose those as freely as values.
    HeaderNames,
    Body,
    FileName,
    /// A name that is asked for, or one label of it.
    DnsLabel,
    /// One message of a stream of them. The messages of one look are also read as if they were one.
    Message,
    /// Values of one request that may be pieces of one.
    Request,
    /// The same of several.
    Requests,
    File(FileSpot),
    /// As another process told it: for people alone.
    Told(String),
}

/// A part of a file. Numbers count from 1.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum FileSpot {
    Whole,
    /// `column` counts characters.
    Line {
        line: u64,
        column: Option<usize>,
    },
    /// In what follows this line and is written otherwise than it is read.
    AfterLine(u64),
    Record {
        unit: Unit,
        number: u64,
        field: Option<(FieldKind, String)>,
        character: Option<usize>,
    },
    /// Of a sheet of a workbook, with the name of its column.
    Cell {
        sheet: String,
        letters: String,
        row: u64,
        column: Option<String>,
    },
    /// A part of a document that is no sheet.
    DocumentPart(String),
    /// Where no delimiter stands between a value and the next.
    Touching,
    PackedNumbers,
    /// In all that was written so.
    Written(Step),
}

/// What a file consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unit {
    Line,
    Row,
    Value,
}

/// What names a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FieldKind {
    Column,
    Key,
}

/// How bytes are read otherwise than they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    Base32,
    Base64,
    Brotli,
    ByteList,
    Bzip2,
    /// Another set of characters than Unicode.
    Charset,
    Deflate,
    Ebcdic,
    Entities,
    Escapes,
    Folded,
    GitPack,
    Gzip,
    Hex,
    /// Characters that are not shown.
    Invisible,
    /// Pieces, put together.
    Joined,
    Lzma,
    /// The name of a member, not what is in it.
    Name,
    /// Some format of packing.
    Packed,
    Percent,
    QuotedPrintable,
    Reversed,
    Rot13,
    Turned,
    UpperCase,
    Utf16,
    Utf32,
    Words,
    Xz,
    Zip,
    Zlib,
    Zstd,
}

impl Place {
    /// A reading of what stands here.
    #[must_use]
    pub fn then(&self, steps: &[Step]) -> Place {
        Place { spot: self.spot.clone(), steps: [&self.steps, steps].concat() }
    }

    /// Whether pieces were put together to read it.
    #[must_use]
    pub fn is_joined(&self) -> bool {
        self.steps.contains(&Step::Joined)
    }

    /// Whether they had to be decoded after that.
    #[must_use]
    pub fn is_joined_and_decoded(&self) -> bool {
        self.steps.iter().position(|step| *step == Step::Joined).is_some_and(|at| at + 1 < self.steps.len())
    }
}

impl From<Spot> for Place {
    fn from(spot: Spot) -> Place {
        Place { spot, steps: Vec::new() }
    }
}

impl From<FileSpot> for Place {
    fn from(spot: FileSpot) -> Place {
        Spot::File(spot).into()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.spot.fmt(f)?;
        self.steps.iter().try_for_each(|step| write!(f, " > {step}"))
    }
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Spot::Header(name) => return write!(f, "header {}", shown(name)),
            Spot::File(spot) => return spot.fmt(f),
            Spot::Told(text) => text,
            Spot::Url => "url",
            Spot::Query => "query",
            Spot::Method => "method",
            Spot::UnnamedHeader => "header …",
            Spot::HeaderNames => "header names",
            Spot::Body => "body",
            Spot::FileName => "file name",
            Spot::DnsLabel => "host name",
            Spot::Message => "message",
            Spot::Request => "request",
            Spot::Requests => "requests",
        })
    }
}

impl fmt::Display for FileSpot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileSpot::Whole => f.write_str("the whole file"),
            FileSpot::Line { line, column: None } => write!(f, "line {line}"),
            FileSpot::Line { line, column: Some(column) } => write!(f, "line {line}, column {column}"),
            FileSpot::AfterLine(line) => write!(f, "after line {line}"),
            FileSpot::Record { unit, number, field, character } => {
                write!(f, "{unit} {number}")?;
                if let Some((kind, name)) = field {
                    write!(f, ", {kind} {}", shown(name))?;
                }
                character.map_or(Ok(()), |character| write!(f, ", character {character}"))
            }
            FileSpot::Cell { sheet, letters, row, column } => {
                write!(f, "{}, cell {}{row}", shown(sheet), shown(letters))?;
                column.as_ref().map_or(Ok(()), |name| write!(f, ", column {}", shown(name)))
            }
            FileSpot::DocumentPart(name) => f.write_str(&shown(name)),
            FileSpot::Touching => f.write_str("where it touches another value"),
            FileSpot::PackedNumbers => f.write_str("packed numbers"),
            FileSpot::Written(how) => write!(f, "in {how}"),
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unit::Line => "line",
            Unit::Row => "row",
            Unit::Value => "value",
        })
    }
}

impl fmt::Display for FieldKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FieldKind::Column => "column",
            FieldKind::Key => "key",
        })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Step::Base32 => "base32",
            Step::Base64 => "base64",
            Step::Brotli => "brotli",
            Step::ByteList => "byte list",
            Step::Bzip2 => "bzip2",
            Step::Deflate => "deflate",
            Step::Charset => "character set",
            Step::Ebcdic => "ebcdic",
            Step::Entities => "entities",
            Step::Escapes => "escapes",
            Step::Folded => "folded",
            Step::GitPack => "git pack",
            Step::Gzip => "gzip",
            Step::Hex => "hex",
            Step::Invisible => "invisible",
            Step::Joined => "joined",
            Step::Lzma => "lzma",
            Step::Name => "name",
            Step::Packed => "packed",
            Step::Percent => "percent",
            Step::QuotedPrintable => "quoted-printable",
            Step::Reversed => "reversed",
            Step::Rot13 => "rot13",
            Step::Turned => "turned",
            Step::UpperCase => "upper case",
            Step::Utf16 => "utf-16",
            Step::Utf32 => "utf-32",
            Step::Words => "words",
            Step::Xz => "xz",
            Step::Zip => "zip",
            Step::Zlib => "zlib",
            Step::Zstd => "zstd",
        })
    }
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// What a text says of a place is believed by nobody: it is [`Spot::Told`], whatever it is.
impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Place, D::Error> {
        String::deserialize(from).map(|text| Spot::Told(text).into())
    }
}

#[cfg(test)]
mod tests;
