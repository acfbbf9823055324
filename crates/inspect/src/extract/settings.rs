//! Files that set variables of an environment (`.env`): what is set there may be a secret under whatever name, so that each
//! value counts which is not plainly a setting, as words, numbers, addresses and paths are.

use std::ops::Range;

use crate::detect::{Native, index::Label};
use crate::scan::value::{identifier, is_placeholder};
use crate::scan::{Filter, Filters};
use crate::{Detectors, Match, endings};

/// The longest such file, in bytes.
pub(super) const MOST: usize = 1 << 20;
/// Of a setting: the longest number, all digits of a value, and the longest value.
const LONGEST_NUMBER: usize = 8;
const MOST_DIGITS: usize = 20;
const LONGEST: usize = 1024;
/// Letters that may be anything (`https`, `nginx`), and are no secret.
const ABBREVIATION: usize = 5;
/// Letters behind a number, as units have them.
const UNIT: usize = 3;
/// Digits of a number that guards nothing: who has none of it soon has tried them all.
const SWITCH: usize = 3;
/// Under a name that says nothing of a setting: letters of a word, and parts that are letters with a number (`v1`, `s3`).
const LONGEST_WORD: usize = 12;
const MOST_NUMBERED: usize = 2;
/// What may follow a label of secrets in a name, and does not make it another.
const BEHIND_A_LABEL: [&[u8]; 8] = [b"base", b"old", b"new", b"prod", b"dev", b"test", b"staging", b"live"];
/// Files with stand-ins, made to be shown.
const SAMPLES: [&str; 3] = ["env.example", "env.sample", "env.template"];

/// Whether a file of this name sets variables of an environment.
pub(super) fn is_named(name: &str) -> bool {
    let endings = endings(name);
    (endings == "env" || endings.starts_with("env.")) && !SAMPLES.contains(&endings.as_str())
}

/// Where values stand that may be a secret; in order of start.
pub(crate) fn opaque(detectors: &Detectors, text: &[u8]) -> Vec<Match> {
    let Some(detector) = detectors.0.native(Native::Setting) else { return Vec::new() };
    let (mut found, mut start) = (Vec::new(), 0);
    for line in text.split_inclusive(|b| matches!(b, b'\n' | b'\r')) {
        let (name, span) = set(line);
        let value = line.get(span.clone()).unwrap_or_default();
        if !value.is_empty() && !is_plain(detectors, name, value) {
            let (start, end) = ((start + span.start) as u64, (start + span.end) as u64);
            let filters = Filters::of(Filter::Setting);
            found.push(Match { detector, start, end, confidence: 0.6, filters });
        }
        start += line.len();
    }
    found
}

/// The name that a line sets and where the value stands, without its quotes and the comment behind it. What sets nothing is a
/// comment, goes on with the line before, or is something else: it counts as a whole, without a name.
fn set(line: &[u8]) -> (&[u8], Range<usize>) {
    let blanks = |text: &[u8]| text.len() - text.trim_ascii_start().len();
    let end = line.trim_ascii_end().len();
    let text = line.get(..end).unwrap_or_default();
    let begins = if text.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    let behind = |at: usize| at + blanks(text.get(at..).unwrap_or_default());
    let named = text.iter().position(|b| *b == b'=').and_then(|at| {
        let name = text.get(begins..at)?.trim_ascii();
        // One that is commented out may hold a secret all the same.
        let name = name.trim_ascii_start().strip_prefix(b"#").unwrap_or(name).trim_ascii_start();
        let name = name.strip_prefix(b"export ").unwrap_or(name).trim_ascii_start();
        let is_name = name.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
        is_name.then_some((name, behind(at + 1)))
    });
    let Some((name, from)) = named else { return (&[], behind(begins)..end) };
    let value = text.get(from..).unwrap_or_default();
    let quoted = value.first().filter(|b| matches!(b, b'"' | b'\'' | b'`'));
    if let Some(quote) = quoted {
        let inner = value.get(1..).unwrap_or_default();
        if let Some(length) = inner.iter().position(|b| b == quote) {
            let rest = inner.get(length + 1..).unwrap_or_default().trim_ascii_start();
            if rest.is_empty() || rest.starts_with(b"#") {
                return (name, from + 1..from + 1 + length);
            }
        }
    }
    (name, from..end)
}

fn is_plain(detectors: &Detectors, name: &[u8], value: &[u8]) -> bool {
    if value.len() > LONGEST || has_password(value) {
        return false;
    }
    let of = Named::of(detectors, name);
    if of == Named::Secret {
        // What has members is no stand-in, although it begins and ends as a template does.
        let has_members = value.iter().any(|b| matches!(b, b'"' | b','));
        return is_placeholder(value) && !has_members || is_switch(value);
    }
    let parts = || value.split(|b| !b.is_ascii_alphanumeric() && *b < 0x80);
    value.iter().filter(|b| b.is_ascii_digit()).count() <= MOST_DIGITS
        && parts().all(is_plain_part)
        && (of != Named::Nothing || is_address(value) || is_plain_anywhere(value, parts()))
}

/// A number, a word, words as names are made of them, a number with its unit.
fn is_plain_part(part: &[u8]) -> bool {
    let digits = part.iter().take_while(|b| b.is_ascii_digit()).count();
    let unit = part.get(digits..).unwrap_or_default();
    let is_short = part.len() <= ABBREVIATION && part.iter().all(u8::is_ascii_alphabetic);
    let is_word = match part.is_ascii() {
        true => is_short || identifier(part),
        false => !part.iter().any(u8::is_ascii_digit),
    };
    match unit.len() {
        0 => digits <= LONGEST_NUMBER,
        length => {
            is_word || digits > 0 && digits <= 4 && length <= UNIT && unit.iter().all(u8::is_ascii_alphabetic)
        }
    }
}

/// Whether a value is a setting although nothing in its name says so: words and numbers with nothing between them but what
/// stands between those. A word with a number behind it (`hunter2`) may be what somebody chose to remember.
fn is_plain_anywhere<'v>(value: &[u8], parts: impl Iterator<Item = &'v [u8]>) -> bool {
    let is_between =
        |b: &u8| b.is_ascii_alphanumeric() || *b >= 0x80 || b" \t_-./:,=+*%&?@;|()'\"`".contains(b);
    let mut numbered = 0;
    value.iter().all(is_between)
        && parts.filter(|part| !part.is_empty()).all(|part| {
            let letters = part.iter().filter(|b| !b.is_ascii_digit()).count();
            let begins = part.first().is_some_and(u8::is_ascii_digit);
            match part.len() - letters {
                0 => is_one_word(part) || letters > LONGEST_WORD && is_joined(part),
                _ if letters == 0 || begins => true,
                digits => {
                    numbered += 1;
                    letters <= 4 && digits <= 2 && is_one_word(part) && numbered <= MOST_NUMBERED
                }
            }
        })
}

/// Letters of one case, or behind a capital, as many as a word has.
fn is_one_word(part: &[u8]) -> bool {
    let rest = part.get(1..).unwrap_or_default();
    part.len() <= LONGEST_WORD
        && (part.iter().all(|b| !b.is_ascii_uppercase())
            || part.iter().all(|b| !b.is_ascii_lowercase())
            || rest.iter().all(|b| !b.is_ascii_uppercase()))
        || is_joined(part) && part.len() <= 2 * LONGEST_WORD
}

/// Words that each begin with a capital.
fn is_joined(part: &[u8]) -> bool {
    let same = |a: &u8, b: &u8| !(a.is_ascii_lowercase() && b.is_ascii_uppercase());
    let words = part.chunk_by(same).count();
    words > 1
        && words * 4 <= part.len()
        && part.chunk_by(same).all(|word| {
            (2..=LONGEST_WORD).contains(&word.len()) && word.iter().skip(1).all(|b| !b.is_ascii_uppercase())
        })
}

/// Each part of an address or a path names something.
fn is_address(value: &[u8]) -> bool {
    [&b"/"[..], b"./", b"../", b"~/"].iter().any(|begin| value.starts_with(begin))
        || value.windows(3).any(|w| w == b"://")
}

/// Whether an address in it names a user with a password that is not the user's name again.
fn has_password(value: &[u8]) -> bool {
    let Some(scheme) = value.windows(3).position(|w| w == b"://") else { return false };
    let authority = value.get(scheme + 3..).unwrap_or_default();
    let end = authority.iter().position(|b| matches!(b, b'/' | b'?' | b'#')).unwrap_or(authority.len());
    let authority = authority.get(..end).unwrap_or_default();
    let Some(at) = authority.iter().rposition(|b| *b == b'@') else { return false };
    let user = authority.get(..at).unwrap_or_default();
    let mut parts = user.splitn(2, |b| *b == b':');
    match (parts.next(), parts.next()) {
        (Some(user), Some(password)) => {
            !password.is_empty() && password != user && !password.starts_with(b"$")
        }
        _ => false,
    }
}

fn is_switch(value: &[u8]) -> bool {
    value.len() <= SWITCH && value.iter().all(u8::is_ascii_digit)
        || [b"yes".as_slice(), b"no", b"on", b"off", b"enabled", b"disabled"]
            .iter()
            .any(|word| value.eq_ignore_ascii_case(word))
}

/// What a name says of its value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Named {
    /// It has none: a line that goes on, or a comment.
    Not,
    Secret,
    Setting,
    Nothing,
}

impl Named {
    fn of(detectors: &Detectors, name: &[u8]) -> Named {
        if name.is_empty() {
            return Named::Not;
        }
        let index = &detectors.0.index;
        let hump = |a: &u8, b: &u8| !(a.is_ascii_lowercase() && b.is_ascii_uppercase());
        let words: Vec<Vec<u8>> = name
            .split(|b| matches!(b, b'_' | b'-' | b'.'))
            .flat_map(|part| part.chunk_by(hump))
            .map(|word| {
                let letters = word.len() - word.iter().rev().take_while(|b| b.is_ascii_digit()).count();
                word.get(..letters).unwrap_or_default().to_ascii_lowercase()
            })
            .filter(|word| !word.is_empty() && !BEHIND_A_LABEL.contains(&word.as_slice()))
            .collect();
        let Some(last) = words.last() else { return Named::Nothing };
        let secrets = [Label::PASSWORD, Label::SECRET];
        let is_secret = |word: &Vec<u8>| {
            index.is_label(word, &secrets)
                || index.ending(word).is_some_and(|(_, label)| secrets.contains(&label))
        };
        match () {
            () if is_secret(last) || index.is_label(last, &[Label::KEY, Label::AUTHORIZATION]) => {
                Named::Secret
            }
            () if index.says(last, Label::SETTING) => Named::Setting,
            () if words.iter().any(is_secret) => Named::Secret,
            () => Named::Nothing,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{Certainty, Limits, inspect_bytes};

    fn found(text: &str) -> Vec<String> {
        let detectors = Detectors::builtin().unwrap();
        let at = |m: Match| text.get(m.start as usize..m.end as usize).unwrap().to_owned();
        opaque(&detectors, text.as_bytes()).into_iter().map(at).collect()
    }

    #[test]
    fn what_is_plainly_a_setting_is_none() {
        let text = "\u{feff}# The app's own settings (see https://docs.example.org/setup#env).\n\
            NODE_ENV=development\nexport PORT=3000\nDEBUG=app:*\nLOG_LEVEL = info\nAPP_NAME=\"My App\" # shown\n\
            DATABASE_URL=postgres://postgres:postgres@localhost:5432/app_dev?sslmode=disable\n\
            REDIS_URL=redis://localhost:6379/0\nCORS=http://localhost:3000,http://127.0.0.1:5173\nTZ=Europe/Berlin\n\
            PGDATA=/var/lib/postgresql/data\nIMAGE=node:20.11-alpine\nMAX=20mb\nTIMEOUT=30s\nAWS_REGION=eu-central-1\n\
            DB_PASSWORD=postgres\nMYSQL_ROOT_PASSWORD=\"root\"\nJWT_SECRET=dev\nPASSWORD=Password\n\
            API_KEY=\nSECRET_KEY=changeme\nTOKEN=${GITHUB_TOKEN}\nTOKEN_TTL=3600\nUSE_AUTH=1\nPUBLIC=true\n\
            NAME=Jürgen Müller\nviteApiBase=/api/v1\nFEATURES=darkMode,newCheckout2\nRATIO=0.75\n";
        assert_eq!(found(text), Vec::<String>::new());
    }

    #[test]
    fn what_people_have_in_such_files_is_read() {
        let files = [
            // Django, Flask.
            "DEBUG=True\nDJANGO_SETTINGS_MODULE=config.settings.local\nALLOWED_HOSTS=localhost,127.0.0.1,[::1]\n\
             DATABASE_URL=sqlite:///db.sqlite3\nEMAIL_BACKEND=django.core.mail.backends.console.EmailBackend\n\
             LANGUAGE_CODE=en-us\nCELERY_BROKER_URL=redis://redis:6379/0\nPOSTGRES_DB=shop\nPOSTGRES_USER=shop\n\
             FLASK_APP=app.py\nFLASK_DEBUG=1\nSQLALCHEMY_TRACK_MODIFICATIONS=False\nSESSION_COOKIE_SECURE=True\n\
             PASSWORD_MIN_LENGTH=12\nSECRET_KEY=\n",
            // Node.
            "NODE_ENV=development\nPORT=3000\nVITE_API_URL=http://localhost:3000/api/v1\nNEXT_TELEMETRY_DISABLED=1\n\
             JWT_EXPIRES_IN=7d\nBCRYPT_ROUNDS=10\nLOG_FORMAT=combined\nS3_BUCKET=acme-uploads-2024\n\
             NODE_OPTIONS=--max-old-space-size=4096\nDEBUG=app:*,-app:trace\nCANARY=environment\nCOLOUR=blue\n",
            // Docker compose.
            "COMPOSE_PROJECT_NAME=shop\nCOMPOSE_FILE=docker-compose.yml:docker-compose.dev.yml\nTAG=1.25.3-alpine\n\
             UID=1000\nTZ=Europe/Berlin\nMYSQL_DATABASE=wordpress\nSUBNET=172.20.0.0/16\n\
             DOCKER_PLATFORM=linux/amd64\nMEM_LIMIT=512m\nREGISTRY=ghcr.io/acme\nPOSTGRES_VERSION=15\n\
             DB_HOST=web01\nTHE_DAY=2024-05-01\nSERVICE_URL=https://api.example.org/v2/items?page=1\n",
        ];
        for text in files {
            assert_eq!(found(text), Vec::<String>::new());
        }
    }

    #[test]
    fn whatever_may_be_a_secret_counts_under_any_name() {
        let values = [
            ("FOO=a8f93kd02l", "a8f93kd02l"),
            (
                "DSN=https://0f3a9c1b2d4e5f60@sentry.example.org/4",
                "https://0f3a9c1b2d4e5f60@sentry.example.org/4",
            ),
            ("DB=postgres://app:hunter@db/app", "postgres://app:hunter@db/app"),
            ("DB_PASSWORD=postgres1", "postgres1"),
            ("dbpassword='tiger' # old", "tiger"),
            ("SECRET_KEY_BASE=lemon cloud", "lemon cloud"),
            ("API_KEY_2=lemon", "lemon"),
            ("# STRIPE=rk9x8c7v6b5n4m", "rk9x8c7v6b5n4m"),
            ("ID=6ba7b810-9dad-11d1-80b4-00c04fd430c8", "6ba7b810-9dad-11d1-80b4-00c04fd430c8"),
            ("PHRASE=\"two\nQzX9wLm4Kt\"", "QzX9wLm4Kt\""),
            ("FROM=+15551234567", "+15551234567"),
            ("KEY={\"a\": 1}", "{\"a\": 1}"),
            // Short, and what people choose to remember.
            ("FOO=hunter2", "hunter2"),
            ("ADMIN=Sunshine2024", "Sunshine2024"),
            ("FOO=aB3$kL9!", "aB3$kL9!"),
            ("FOO=x7k2", "x7k2"),
            ("FOO=qwxkzvbn", "qwxkzvbn"),
            ("FOO=abcdefghijklmnop", "abcdefghijklmnop"),
            ("FOO=a1-b2-c3-d4", "a1-b2-c3-d4"),
            ("FOO=QzXwLmKtab", "QzXwLmKtab"),
            ("SMTP_PASSWORD_ACME=lemon", "lemon"),
            ("URL=https://u:pw@example.org/", "https://u:pw@example.org/"),
        ];
        for (text, value) in values {
            assert_eq!(found(text), [value], "{text}");
        }
    }

    #[test]
    fn the_name_says_what_is_one() {
        let detectors = Detectors::builtin().unwrap();
        let findings = |name: &str, bytes: &[u8]| {
            let report = inspect_bytes(&detectors, bytes, name, &Limits::default());
            report
                .items
                .into_iter()
                .flat_map(|i| i.findings)
                .map(|f| (f.detector, f.certainty, f.count))
                .collect::<Vec<_>>()
        };
        let wide: Vec<u8> = "FOO=a8f93kd02l\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let setting = vec![("opaque_setting".to_owned(), Certainty::Possible, 1)];
        for name in [".env", "app/.env.production", "prod.env", "/w/.ENV"] {
            assert_eq!(findings(name, b"FOO=a8f93kd02l\n"), setting, "{name}");
            assert_eq!(findings(name, &wide), setting, "{name}");
            assert_eq!(findings(name, b"\0FOO=a8f93kd02l\n"), setting, "{name}");
        }
        for name in ["notes.txt", ".envrc", "env", ".env.example", "api/.env.sample"] {
            assert_eq!(findings(name, b"FOO=a8f93kd02l\n"), [], "{name}");
        }
        let long = inspect_bytes(&detectors, &vec![b'\n'; MOST + 1], ".env", &Limits::default());
        assert!(long.error().is_some());
    }
}
