//! A moment on the command line: a time with its offset, or how long ago.

use chaperone_config::profile;
use jiff::{SignedDuration, Timestamp};

/// What an option that takes a moment accepts.
pub const FORM: &str = "a time in RFC 3339 such as 2026-05-01T00:00:00Z or 2026-05-01T02:00:00+02:00, or how long ago: 90s, 15m, 1h, 7d";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment(Timestamp);

impl Moment {
    /// The first millisecond since 1970 that is not before it.
    pub fn not_before(self) -> u64 {
        let floor = self.0.as_nanosecond().div_euclid(1_000_000);
        let part = self.0.as_nanosecond().rem_euclid(1_000_000);
        u64::try_from(floor + i128::from(part > 0)).unwrap_or(0)
    }

    /// The last millisecond since 1970 that is not after it.
    pub fn not_after(self) -> u64 {
        u64::try_from(self.0.as_nanosecond().div_euclid(1_000_000)).unwrap_or(0)
    }
}

/// For the command line.
pub fn parse(text: &str) -> Result<Moment, String> {
    at(text, Timestamp::now())
}

fn at(text: &str, now: Timestamp) -> Result<Moment, String> {
    // A number alone is as likely a year as seconds.
    if let Some(seconds) = profile::seconds(text).filter(|_| !text.ends_with(|c: char| c.is_ascii_digit())) {
        let ago = i64::try_from(seconds).ok().map(SignedDuration::from_secs);
        let then = ago.and_then(|ago| now.checked_sub(ago).ok());
        return then
            .map(Moment)
            .ok_or_else(|| format!("that long ago is before the calendar; expected {FORM}"));
    }
    text.parse().map(Moment).map_err(|_| format!("expected {FORM}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str) -> u64 {
        at(text, Timestamp::from_second(1_000_000).unwrap()).unwrap().not_before()
    }

    #[test]
    fn a_time_with_an_offset_is_the_instant_that_it_names() {
        assert_eq!(ms("1970-01-02T00:00:00Z"), 86_400_000);
        assert_eq!(ms("1970-01-02T02:00:00+02:00"), 86_400_000);
        assert_eq!(ms("1970-01-01T19:00:00-05:00"), 86_400_000);
        assert_eq!(ms("1970-01-02T00:00:00.001Z"), 86_400_001);
    }

    #[test]
    fn a_part_of_a_millisecond_is_rounded_so_that_nothing_outside_is_taken() {
        let between = parse("1970-01-01T00:00:01.0005Z").unwrap();
        assert_eq!((between.not_before(), between.not_after()), (1_001, 1_000));
        let before = parse("1960-01-01T00:00:00Z").unwrap();
        assert_eq!((before.not_before(), before.not_after()), (0, 0));
    }

    #[test]
    fn a_duration_is_so_long_ago() {
        for (text, seconds) in [("90s", 90), ("15m", 900), ("1h", 3_600), ("7d", 604_800)] {
            assert_eq!(ms(text), (1_000_000 - seconds) * 1_000, "{text}");
        }
    }

    #[test]
    fn anything_else_is_an_error_that_says_what_is_meant() {
        for text in [
            "",
            "yesterday",
            "2026",
            "2026-05-01",
            "2026-05-01T00:00:00",
            "1w",
            "-1h",
            "1 h",
            "99999999999d",
            "99999999999999999999s",
        ] {
            assert!(parse(text).unwrap_err().contains("how long ago: 90s"), "{text}");
        }
    }
}
