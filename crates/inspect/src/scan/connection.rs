//! Passwords in what programs connect to a database with. By its place it is one, whatever it looks like.
//!
//! Sources: ADO.NET connection strings, libpq's keywords, addresses of JDBC, data source names of Go.

use super::value::is_placeholder;
use super::view::View;

/// How far around a password the rest of its string is looked at, in bytes.
const AROUND: usize = 256;
/// The shortest and the longest password.
const LENGTH: std::ops::RangeInclusive<usize> = 4..=128;
/// What else such a string says.
const KEYS: &[&str] = &[
    "addr",
    "address",
    "data source",
    "database",
    "databasename",
    "datasource",
    "db",
    "dbname",
    "driver",
    "host",
    "hostaddr",
    "hostname",
    "initial catalog",
    "network address",
    "server",
    "servername",
    "sslmode",
    "uid",
    "user",
    "user id",
    "user name",
    "userid",
    "username",
];
/// What stands in for a password, or names it.
const STANDS_IN: &[&[u8]] = &[b"pass", b"pwd", b"secret", b"token", b"credential"];
/// How Go names what it connects to, behind `user:password@`.
const NETWORKS: &[&[u8]] = &[b"tcp(", b"unix(", b"tcp6(", b"cloudsql("];

/// Whether the password `value`, behind a label that begins at `label`, is one of several values of such a string.
pub(super) fn is_in_connection(view: &View<'_>, label: usize, (start, end): (usize, usize)) -> bool {
    if view.before(start, 1) != b'=' || !is_password(view.slice(start, end)) {
        return false;
    }
    let ends = |b: &u8| matches!(b, b'\n' | b'"' | b'\'' | b'`' | b'\x1f');
    let before = view.slice(label.saturating_sub(AROUND), label);
    let before = before.rsplit(ends).next().unwrap_or_default();
    let after = view.slice(end, end + AROUND);
    let after = after.split(ends).next().unwrap_or_default();
    let Some(divides) = [before.last(), after.first()].into_iter().flatten().find_map(divider) else {
        return false;
    };
    let is_last = before.is_empty() || before.last().is_some_and(divides);
    is_last && [before, after].iter().any(|part| part.split(divides).any(says_where))
}

/// What divides the values of the string that has `byte` beside its password.
fn divider(byte: &u8) -> Option<fn(&u8) -> bool> {
    match byte {
        b';' => Some(|b| *b == b';'),
        b'&' | b'?' => Some(|b| matches!(b, b'&' | b'?')),
        b' ' => Some(|b| *b == b' '),
        _ => None,
    }
}

fn says_where(pair: &[u8]) -> bool {
    let Some(at) = pair.iter().position(|b| *b == b'=') else { return false };
    let key = pair.get(..at).unwrap_or_default().trim_ascii();
    KEYS.iter().any(|known| key.eq_ignore_ascii_case(known.as_bytes()))
}

fn is_password(value: &[u8]) -> bool {
    let lower = value.to_ascii_lowercase();
    LENGTH.contains(&value.len())
        && !value.iter().any(|b| b"(){}[]<>|".contains(b))
        && !matches!(value.first(), Some(b'$' | b'%' | b':' | b'@' | b'='))
        && !is_placeholder(value)
        && !STANDS_IN.iter().any(|word| memchr::memmem::find(&lower, word).is_some())
}

/// Where the password of `user:password@tcp(host)/database` stands, whose `@` is at `at`.
pub(super) fn of_go(view: &View<'_>, at: usize) -> Option<(usize, usize)> {
    let follows = view.slice(at + 1, at + 12);
    NETWORKS.iter().find(|network| follows.starts_with(network))?;
    let before = view.slice(at.saturating_sub(AROUND), at);
    let whole = |b: &&u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'\'' | b'`' | b'=' | b'/');
    let length = before.iter().rev().take_while(whole).count();
    let pair = view.slice(at - length, at);
    let colon = pair.iter().position(|b| *b == b':')?;
    let (user, password) = (pair.get(..colon)?, pair.get(colon + 1..)?);
    let is_other = !user.is_empty() && !password.eq_ignore_ascii_case(user);
    (is_other && is_password(password)).then_some((at - length + colon + 1, at))
}
