//! Records, and the numbers that they are made of.

use super::super::ExtractError;
use super::super::batch::{Batch, Coding};
use crate::encodings::{is_binary, readable};
use crate::report::NO_COLUMN;

pub(super) const HEADER: usize = 100;
pub(super) const DAMAGED: ExtractError = ExtractError::Damaged("SQLite database");
/// Columns of a table; what SQLite itself allows.
pub(super) const MOST_COLUMNS: usize = 2_000;

/// One value of a record.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Nothing,
    Integer(i64),
    Real(f64),
    Text(Vec<u8>),
    Blob(Vec<u8>),
}

impl Value {
    /// What a value with this serial type is, read from its bytes.
    fn new(kind: u64, bytes: &[u8], encoding: u32) -> Value {
        match kind {
            1..=6 => Value::Integer(integer(bytes)),
            7 => bytes.first_chunk().map_or(Value::Nothing, |b| Value::Real(f64::from_be_bytes(*b))),
            8 => Value::Integer(0),
            9 => Value::Integer(1),
            13.. if kind % 2 == 1 => Value::Text(text(bytes, encoding)),
            12.. => Value::Blob(bytes.to_vec()),
            _ => Value::Nothing,
        }
    }
}

/// The bytes that a value with this serial type takes.
pub(super) fn length(kind: u64) -> Option<usize> {
    match kind {
        0 | 8 | 9 => Some(0),
        1..=4 => Some(kind as usize),
        5 => Some(6),
        6 | 7 => Some(8),
        12.. => usize::try_from((kind - 12) / 2).ok(),
        _ => None,
    }
}

/// The values of a record, whole.
pub(super) fn record(payload: &[u8], encoding: u32) -> Result<Vec<Value>, ExtractError> {
    let (kinds, mut body) = kinds(payload)?;
    let mut values = Vec::new();
    for kind in kinds {
        let end = body.checked_add(length(kind).ok_or(DAMAGED)?).ok_or(DAMAGED)?;
        values.push(Value::new(kind, payload.get(body..end).ok_or(DAMAGED)?, encoding));
        body = end;
    }
    Ok(values)
}

/// The values of a record as far as it goes.
pub(super) fn beginning(payload: &[u8], encoding: u32) -> Vec<Value> {
    let Ok((kinds, body)) = kinds(payload) else { return Vec::new() };
    take(&kinds, payload.get(body..).unwrap_or_default(), encoding)
}

/// Values of these serial types, one after the other, as far as the bytes go; the last text may be cut.
pub(super) fn take(kinds: &[u64], mut body: &[u8], encoding: u32) -> Vec<Value> {
    let mut values = Vec::new();
    for kind in kinds {
        let Some(length) = length(*kind) else { break };
        let (bytes, rest) = body.split_at(length.min(body.len()));
        if bytes.len() < length && *kind < 12 {
            break;
        }
        values.push(Value::new(*kind, bytes, encoding));
        body = rest;
    }
    values
}

/// The serial types that a record begins with, and where its values do.
fn kinds(payload: &[u8]) -> Result<(Vec<u64>, usize), ExtractError> {
    let mut at = 0;
    let header = usize::try_from(varint(payload, &mut at)?).map_err(|_| DAMAGED)?;
    let mut kinds = Vec::new();
    while at < header && kinds.len() < MOST_COLUMNS {
        kinds.push(varint(payload, &mut at)?);
    }
    Ok((kinds, header))
}

pub(super) fn text(bytes: &[u8], encoding: u32) -> Vec<u8> {
    let unit: fn([u8; 2]) -> u16 = match encoding {
        2 => u16::from_le_bytes,
        3 => u16::from_be_bytes,
        _ => return bytes.to_vec(),
    };
    let units = bytes.as_chunks::<2>().0.iter().map(|pair| unit(*pair));
    char::decode_utf16(units).map(|c| c.unwrap_or('\u{fffd}')).collect::<String>().into_bytes()
}

fn integer(bytes: &[u8]) -> i64 {
    let negative = bytes.first().is_some_and(|b| b & 0x80 != 0);
    bytes.iter().fold(if negative { -1 } else { 0 }, |n, b| n << 8 | i64::from(*b))
}

pub(super) fn varint(bytes: &[u8], at: &mut usize) -> Result<u64, ExtractError> {
    let mut value = 0;
    for i in 0..9 {
        let b = byte(bytes, *at)?;
        *at += 1;
        if i == 8 {
            return Ok(value << 8 | u64::from(b));
        }
        value = value << 7 | u64::from(b & 0x7f);
        if b & 0x80 == 0 {
            break;
        }
    }
    Ok(value)
}

pub(super) fn byte(bytes: &[u8], at: usize) -> Result<u8, ExtractError> {
    bytes.get(at).copied().ok_or(DAMAGED)
}

pub(super) fn two(bytes: &[u8], at: usize) -> Result<u16, ExtractError> {
    bytes.get(at..).and_then(|b| b.first_chunk()).map(|b| u16::from_be_bytes(*b)).ok_or(DAMAGED)
}

pub(super) fn four(bytes: &[u8], at: usize) -> Result<u32, ExtractError> {
    bytes.get(at..).and_then(|b| b.first_chunk()).map(|b| u32::from_be_bytes(*b)).ok_or(DAMAGED)
}

/// How much of a payload stands in its cell, and whether the rest stands elsewhere.
pub(super) fn local(length: usize, usable: usize, is_table: bool) -> (usize, bool) {
    let largest = if is_table { usable - 35 } else { (usable - 12) * 64 / 255 - 23 };
    if length <= largest {
        return (length, false);
    }
    let least = (usable - 12) * 32 / 255 - 23;
    let fit = least + (length - least) % (usable - 4);
    (if fit <= largest { fit } else { least }, true)
}

pub(super) fn push(batch: &mut Batch, columns: &[String], numbers: &[u32], values: &[Value], row: u64) {
    for (i, value) in values.iter().enumerate() {
        let label = columns.get(i).map_or("", String::as_str);
        let column = numbers.get(i).copied().unwrap_or(NO_COLUMN);
        let text = match value {
            Value::Nothing => continue,
            Value::Integer(number) => number.to_string().into_bytes(),
            Value::Real(real) => format!("{real}").into_bytes(),
            Value::Text(text) => text.clone(),
            Value::Blob(blob) if is_binary(blob) => readable::strings(blob),
            Value::Blob(blob) => blob.clone(),
        };
        batch.push(0..0, label, &text, (column, row), Coding::Plain);
    }
}
