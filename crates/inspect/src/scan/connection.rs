//! Passwords in what programs connect to a database or a server with. By its place it is one, whatever it looks like.
//!
//! Sources: ADO.NET connection strings, libpq's keywords and password file, addresses of JDBC, data source names of Go, netrc(5),
//! option files of MySQL.

use super::value::{holds_stand_in, is_placeholder};
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
/// Drivers of Oracle that take `user/password@`, and how far before the `@` their address begins.
const ORACLE: &[&[u8]] = &[b"thin", b"oci", b"oci8"];
const ORACLE_REACH: usize = 160;
/// Sections of MySQL's option files.
const SECTIONS: &[&[u8]] = &[b"[client", b"[mysql", b"[mariadb"];
/// Ports of PostgreSQL and of its poolers: without one a line of `.pgpass` might be anything.
const POSTGRES: &[&[u8]] = &[b"5432", b"5433", b"5434", b"6432", b"6543", b"*"];
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
    LENGTH.contains(&value.len())
        && !value.iter().any(|b| b"(){}[]<>|".contains(b))
        && !matches!(value.first(), Some(b'$' | b'%' | b':' | b'@' | b'='))
        && !is_placeholder(value)
        && !holds_stand_in(value)
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

/// Where the password of `jdbc:oracle:thin:user/password@host` stands, whose `@` is at `at`.
pub(super) fn of_oracle(view: &View<'_>, at: usize) -> Option<(usize, usize)> {
    let before = view.slice(at.saturating_sub(ORACLE_REACH), at);
    // Most text has no slash there; to look for the rest costs more.
    memchr::memchr(b'/', before)?;
    let begin = memchr::memmem::rfind(before, b"jdbc:oracle:")? + b"jdbc:oracle:".len();
    let mut parts = before.get(begin..)?.splitn(2, |b| *b == b':');
    let (driver, pair) = (parts.next()?, parts.next()?);
    let slash = pair.iter().position(|b| *b == b'/')?;
    let (user, password) = (pair.get(..slash)?, pair.get(slash + 1..)?);
    let is_whole = ORACLE.contains(&driver) && !user.is_empty() && pair.iter().all(u8::is_ascii_graphic);
    (is_whole && is_password(password)).then_some((at - password.len(), at))
}

/// Where the password stands behind its label at `start..end` in a file of a program's own form: netrc, options of MySQL.
pub(super) fn of_file(view: &View<'_>, start: usize, end: usize) -> Option<(usize, usize)> {
    let gap = view.slice(end, end + LENGTH.start() + 4);
    let blanks = gap.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
    let is_set = gap.get(blanks) == Some(&b'=');
    let from = match is_set {
        true if matches!(view.before(start, 1), b'\n' | 0) && is_in_section(view, start) => {
            let behind = gap.get(blanks + 1..).unwrap_or_default();
            end + blanks + 1 + behind.iter().take_while(|b| matches!(b, b' ' | b'\t' | b'"' | b'\'')).count()
        }
        false if blanks > 0 && is_of_netrc(view, start) => end + blanks,
        _ => return None,
    };
    let rest = view.slice(from, from + LENGTH.end() + 1);
    let length = rest.iter().take_while(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\'')).count();
    is_password(rest.get(..length)?).then_some((from, from + length))
}

/// `machine HOST login USER` before the label, on one line or several.
fn is_of_netrc(view: &View<'_>, label: usize) -> bool {
    let before = view.slice(label.saturating_sub(AROUND), label);
    let mut words = before.rsplit(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let [_user, login, _host, machine] = [words.next(), words.next(), words.next(), words.next()];
    login == Some(&b"login"[..]) && machine == Some(&b"machine"[..])
}

fn is_in_section(view: &View<'_>, label: usize) -> bool {
    let before = view.slice(label.saturating_sub(AROUND), label);
    let section = before.rsplit(|b| *b == b'\n').find(|line| line.starts_with(b"["));
    section.is_some_and(|line| SECTIONS.iter().any(|known| line.starts_with(known)))
}

/// Where the password of a line `host:port:database:user:password` stands, whose second colon is at `at`.
pub(super) fn of_postgres(view: &View<'_>, at: usize) -> Option<(usize, usize)> {
    let before = view.slice(at.saturating_sub(AROUND), at);
    let port = before.iter().rev().take_while(|b| b.is_ascii_digit() || **b == b'*').count();
    POSTGRES.contains(&before.get(before.len() - port..)?).then_some(())?;
    let before = before.get(..before.len() - port)?.strip_suffix(b":")?;
    let host = before.rsplit(|b| *b == b'\n').next()?;
    let is_host = |b: &u8| b.is_ascii_alphanumeric() || b"*.-_/[]".contains(b);
    let names_host = host == b"*" || host == b"localhost" || host.iter().any(|b| b"./-".contains(b));
    (names_host && host.iter().all(is_host)).then_some(())?;
    let rest = view.slice(at + 1, at + 1 + AROUND);
    let line = rest.split(|b| matches!(b, b'\n' | b'\r')).next()?;
    let mut fields = line.splitn(3, |b| *b == b':');
    let (database, user, password) = (fields.next()?, fields.next()?, fields.next()?);
    let is_name = |name: &[u8]| {
        !name.is_empty()
            && name.iter().all(|b| b.is_ascii_graphic() && *b != b'/')
            && !name.iter().all(u8::is_ascii_digit)
    };
    let start = at + 1 + database.len() + 1 + user.len() + 1;
    let is_whole = is_name(database) && is_name(user) && password.iter().all(u8::is_ascii_graphic);
    (is_whole && is_password(password)).then_some((start, start + password.len()))
}
