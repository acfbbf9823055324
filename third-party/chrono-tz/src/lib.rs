//! Stands in for the crate `chrono-tz`, of which the Rego engine uses one type: a zone by its IANA name, and its offset at
//! an instant (`time.clock`, `time.date`, `time.weekday`, `time.format`, `time.add_date` of a policy).
//!
//! `chrono-tz` holds every transition of every zone as Rust tables, half of all data that the dynamic loader has to
//! relocate at each start of the program. The zones here are jiff's: the same database, as bytes that nobody touches until
//! a policy asks. Both are renewed by their maintainers with every release of the IANA database.
#![forbid(unsafe_code)]

use std::error::Error;
use std::fmt;
use std::str::FromStr;

use chrono::{FixedOffset, MappedLocalTime, NaiveDate, NaiveDateTime, NaiveTime};
use jiff::Timestamp;
use jiff::civil;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};

/// A zone of the IANA database.
#[derive(Clone, Debug)]
pub struct Tz(TimeZone);

/// The database has no zone of that name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError;

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("failed to parse timezone")
    }
}

impl Error for ParseError {}

impl FromStr for Tz {
    type Err = ParseError;

    fn from_str(name: &str) -> Result<Self, ParseError> {
        let zone = jiff::tz::db().get(name).map_err(|_| ParseError)?;
        // The database answers to any case; the names of a policy are exact, as everywhere in Rego.
        if zone.iana_name() == Some(name) { Ok(Self(zone)) } else { Err(ParseError) }
    }
}

impl chrono::TimeZone for Tz {
    type Offset = FixedOffset;

    fn from_offset(offset: &FixedOffset) -> Self {
        let seconds = offset.local_minus_utc();
        Self(Offset::from_seconds(seconds).map_or(TimeZone::UTC, TimeZone::fixed))
    }

    fn offset_from_local_date(&self, local: &NaiveDate) -> MappedLocalTime<FixedOffset> {
        self.offset_from_local_datetime(&local.and_time(NaiveTime::MIN))
    }

    fn offset_from_local_datetime(&self, local: &NaiveDateTime) -> MappedLocalTime<FixedOffset> {
        let seconds = local.and_utc().timestamp();
        let Some(civil) = civil(seconds) else { return MappedLocalTime::None };
        match self.0.to_ambiguous_timestamp(civil).offset() {
            AmbiguousOffset::Unambiguous { offset } => MappedLocalTime::Single(fixed(offset)),
            AmbiguousOffset::Gap { .. } => MappedLocalTime::None,
            AmbiguousOffset::Fold { before, after } => {
                MappedLocalTime::Ambiguous(fixed(before), fixed(after))
            }
        }
    }

    fn offset_from_utc_date(&self, utc: &NaiveDate) -> FixedOffset {
        self.offset_from_utc_datetime(&utc.and_time(NaiveTime::MIN))
    }

    fn offset_from_utc_datetime(&self, utc: &NaiveDateTime) -> FixedOffset {
        let seconds = utc.and_utc().timestamp();
        // Beyond the years that jiff counts, the zone is as it is at that end.
        let instant = Timestamp::from_second(seconds).unwrap_or(if seconds < 0 {
            Timestamp::MIN
        } else {
            Timestamp::MAX
        });
        fixed(self.0.to_offset(instant))
    }
}

fn civil(seconds: i64) -> Option<civil::DateTime> {
    Timestamp::from_second(seconds).ok().map(|t| Offset::UTC.to_datetime(t))
}

/// An offset of a zone is below a day, so that both crates can hold it.
fn fixed(offset: Offset) -> FixedOffset {
    FixedOffset::east_opt(offset.seconds()).unwrap_or_else(|| chrono::Offset::fix(&chrono::Utc))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use chrono::{NaiveDate, TimeZone};

    use super::*;

    fn at(zone: &str, year: i32, month: u32, day: u32, hour: u32) -> i32 {
        let utc = NaiveDate::from_ymd_opt(year, month, day).unwrap().and_hms_opt(hour, 0, 0).unwrap();
        zone.parse::<Tz>().unwrap().offset_from_utc_datetime(&utc).local_minus_utc()
    }

    #[test]
    fn a_zone_has_the_offset_of_the_instant() {
        assert_eq!(at("Europe/Berlin", 2026, 1, 1, 0), 3600);
        assert_eq!(at("Europe/Berlin", 2026, 7, 1, 0), 7200);
        assert_eq!(at("Europe/Berlin", 2026, 3, 29, 0), 3600);
        assert_eq!(at("Europe/Berlin", 2026, 3, 29, 1), 7200);
        assert_eq!(at("America/New_York", 2026, 7, 1, 0), -4 * 3600);
        assert_eq!(at("Asia/Kolkata", 2026, 7, 1, 0), 19_800);
        // Names that are links, and the years before and after the table.
        assert_eq!(at("PST8PDT", 2026, 7, 1, 0), -7 * 3600);
        assert_eq!(at("EST", 2026, 7, 1, 0), -5 * 3600);
        assert_eq!(at("Europe/Kiev", 2026, 1, 1, 0), 7200);
        assert_eq!(at("America/New_York", 1700, 1, 1, 0), -17_762);
        assert_eq!(at("Europe/Berlin", 2100, 7, 1, 0), 7200);
    }

    #[test]
    fn a_local_time_may_be_there_once_twice_or_never() {
        let berlin: Tz = "Europe/Berlin".parse().unwrap();
        let local = |month, day, hour, minute| {
            let local =
                NaiveDate::from_ymd_opt(2026, month, day).unwrap().and_hms_opt(hour, minute, 0).unwrap();
            berlin.offset_from_local_datetime(&local)
        };
        let east = |hours| FixedOffset::east_opt(hours * 3600).unwrap();
        assert_eq!(local(7, 1, 12, 0), MappedLocalTime::Single(east(2)));
        assert_eq!(local(3, 29, 2, 30), MappedLocalTime::None);
        assert_eq!(local(10, 25, 2, 30), MappedLocalTime::Ambiguous(east(2), east(1)));
    }

    #[test]
    fn what_is_no_zone_is_an_error() {
        for name in ["", "Nowhere/City", "europe/berlin", "../../etc/passwd", "Europe/Berlin\0"] {
            assert_eq!(name.parse::<Tz>().err(), Some(ParseError), "{name:?}");
        }
    }
}
