//! Cumulative budgets: many small requests add up to one large one (T1030).
//!
//! Each limit is on its own unremarkable; together they bound what a session can carry out, whatever form it takes.

use std::collections::{HashMap, VecDeque};

use crate::host::Host;

/// What a session may spend. An absent limit is no limit; those that bound memory are always there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes sent to one destination.
    pub upload_bytes_each: Option<u64>,
    /// Bytes sent in all.
    pub upload_bytes: Option<u64>,
    /// Different values of the user's sent to one destination; at most [`MAX_VALUES`].
    pub values_each: Option<usize>,
    /// Requests in any minute, to all destinations.
    pub requests_per_minute: Option<u32>,
    /// Messages of WebSockets in any minute, to all destinations.
    pub messages_per_minute: Option<u32>,
    /// Different destinations in the session; at most [`MAX_DESTINATIONS`].
    pub destinations: Option<usize>,
    /// KiB in any minute of requests and messages that were inspected and then refused.
    pub refused_kib_per_minute: Option<u32>,
}

/// Which budget is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Over {
    #[error("the session has sent as many bytes to this host as it may")]
    DestinationBytes,
    #[error("the session has sent as many bytes as it may")]
    TotalBytes,
    #[error("the session has sent as many different values to this host as it may")]
    Values,
    #[error("the session makes more requests a minute than it may")]
    Requests,
    #[error("the session sends more messages a minute than it may")]
    Messages,
    #[error("the session has talked to as many hosts as it may")]
    Destinations,
    #[error("more of what the session wanted to send was refused within a minute than may be inspected")]
    Looks,
}

impl Over {
    /// The stable, snake_case reason code that logs and policies see.
    pub fn code(self) -> &'static str {
        match self {
            Self::DestinationBytes => "destination_bytes",
            Self::TotalBytes => "total_bytes",
            Self::Values => "values",
            Self::Requests => "requests",
            Self::Messages => "messages",
            Self::Destinations => "destinations",
            Self::Looks => "looks",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Fine,
    /// From 80 % of this budget on.
    Near(Over),
    /// The request would exceed this budget. It was not counted as sent, only as a request.
    Over(Over),
}

/// What a request did to the budgets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    pub level: Level,
    /// The first request to this destination.
    pub new_destination: bool,
    /// Bytes sent to this destination so far, and in all.
    pub bytes_each: u64,
    pub bytes: u64,
}

/// What is taken for a request or messages before it is decided on. Whatever is not sent is given back by
/// [`Budget::give_back`].
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Taken {
    dest: Host,
    /// As it would have been sent.
    offered: u64,
    /// As it was counted.
    bytes: u64,
    values: Vec<u64>,
}

/// What a session has spent. Bounded memory: destinations and values by the limits below.
#[derive(Debug, Default)]
pub struct Budget {
    limits: Limits,
    destinations: HashMap<Host, Destination>,
    own_limits: HashMap<Host, u64>,
    bytes: u64,
    values: usize,
    requests: Minute,
    messages: Minute,
    refused_kib: Minute,
    now_ms: u64,
}

/// What was counted over the last minute, by the second: 61 counts, however much there is.
#[derive(Debug, Default)]
struct Minute(VecDeque<(u64, u32)>);

#[derive(Debug, Default)]
struct Destination {
    bytes: u64,
    /// Values, and how many requests with each were sent or are decided on.
    values: HashMap<u64, u32>,
}

/// Destinations of a session; beyond, all others are denied. A name has at most 253 bytes.
pub const MAX_DESTINATIONS: usize = 4096;
/// Different values to all destinations of a session; beyond, new ones are denied. 16 bytes each.
pub const MAX_VALUES: usize = 1 << 18;

const MINUTE_MS: u64 = 60_000;
const SECOND_MS: u64 = 1000;

impl Budget {
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// A limit of bytes for one destination alone, besides those for each and for all.
    pub fn limit(&mut self, dest: &Host, bytes: u64) {
        if self.own_limits.len() < MAX_DESTINATIONS {
            self.own_limits.insert(one(dest), bytes);
        }
    }

    /// Bytes that may still be sent to a destination.
    pub fn left(&self, dest: &Host) -> u64 {
        let dest = &one(dest);
        let each = self.destinations.get(dest).map_or(0, |d| d.bytes);
        let left = |limit: Option<u64>, used: u64| limit.map_or(u64::MAX, |l| l.saturating_sub(used));
        left(self.limits.upload_bytes, self.bytes)
            .min(left(self.limits.upload_bytes_each, each))
            .min(left(self.own_limits.get(dest).copied(), each))
    }

    /// Bytes that may still be sent to all destinations together.
    pub fn left_in_all(&self) -> u64 {
        self.limits.upload_bytes.map_or(u64::MAX, |limit| limit.saturating_sub(self.bytes))
    }

    /// Whether more may be inspected: not where too much was refused in the last minute.
    pub fn may_look(&self, now_ms: u64) -> bool {
        let limit = self.limits.refused_kib_per_minute.map_or(u64::MAX, u64::from);
        self.refused_kib.sum(self.now_ms.max(now_ms)) <= limit
    }

    /// A request with so many bytes of target, headers and body, and with these values of the user's, by a hash that the
    /// caller keys. Call it before it is decided on, and give back what is not sent.
    pub fn take(
        &mut self,
        dest: &Host,
        bytes: u64,
        hashes: impl IntoIterator<Item = u64>,
        now_ms: u64,
    ) -> (Level, Taken) {
        let spent = self.spend(dest, bytes, now_ms);
        let mut taken = self.taken(dest, bytes, spent.level, Vec::new());
        (self.take_values(spent.level, &mut taken, hashes), taken)
    }

    /// The values that were found in what was taken; the worse of `level` and theirs.
    pub fn take_values(
        &mut self,
        level: Level,
        taken: &mut Taken,
        hashes: impl IntoIterator<Item = u64>,
    ) -> Level {
        let (values, hashes) = self.spend_new_values(&taken.dest, hashes);
        taken.values.extend(hashes);
        match (level, values.level) {
            (Level::Over(_), _) | (Level::Near(_), Level::Near(_) | Level::Fine) => level,
            (_, level) => level,
        }
    }

    /// As [`Budget::take`], of messages: see [`Budget::spend_messages`].
    pub fn take_messages(&mut self, dest: &Host, messages: u32, bytes: u64, now_ms: u64) -> (Level, Taken) {
        let level = self.spend_messages(dest, messages, bytes, now_ms).level;
        (level, self.taken(dest, bytes, level, Vec::new()))
    }

    fn taken(&self, dest: &Host, offered: u64, level: Level, values: Vec<u64>) -> Taken {
        let bytes = if matches!(level, Level::Over(_)) { 0 } else { offered };
        Taken { dest: one(dest), offered, bytes, values }
    }

    /// What was taken is not sent. That it was inspected counts for itself.
    pub fn give_back(&mut self, taken: Taken, now_ms: u64) {
        self.now_ms = self.now_ms.max(now_ms);
        let kib = u32::try_from(taken.offered.div_ceil(1024)).unwrap_or(u32::MAX);
        self.refused_kib.count(self.now_ms, kib);
        self.bytes = self.bytes.saturating_sub(taken.bytes);
        let Some(destination) = self.destinations.get_mut(&taken.dest) else { return };
        destination.bytes = destination.bytes.saturating_sub(taken.bytes);
        for value in taken.values {
            // Another request with the same value may have been sent, or may yet be.
            let Some(requests) = destination.values.get_mut(&value) else { continue };
            *requests = requests.saturating_sub(1);
            if *requests == 0 {
                destination.values.remove(&value);
                self.values -= 1;
            }
        }
    }

    /// A request with so many bytes of target, headers and body. Call it before anything is sent. `now_ms` is milliseconds on any clock that goes forward.
    pub fn spend(&mut self, dest: &Host, bytes: u64, now_ms: u64) -> Spent {
        self.now_ms = self.now_ms.max(now_ms);
        self.requests.count(self.now_ms, 1);
        self.spend_more(dest, bytes, now_ms)
    }

    /// Messages of a conversation that was counted before, with so many bytes of frames. Call it before any is sent.
    pub fn spend_messages(&mut self, dest: &Host, messages: u32, bytes: u64, now_ms: u64) -> Spent {
        self.now_ms = self.now_ms.max(now_ms);
        self.messages.count(self.now_ms, messages);
        let used =
            (self.messages.sum(self.now_ms), self.limits.messages_per_minute.map(u64::from), Over::Messages);
        self.spend_bytes(dest, bytes, Some(used))
    }

    /// More bytes of a request or a connection that was counted before.
    pub fn spend_more(&mut self, dest: &Host, bytes: u64, now_ms: u64) -> Spent {
        self.now_ms = self.now_ms.max(now_ms);
        self.spend_bytes(dest, bytes, None)
    }

    fn spend_bytes(&mut self, dest: &Host, bytes: u64, also: Option<(u64, Option<u64>, Over)>) -> Spent {
        let dest = &one(dest);
        let new_destination = !self.destinations.contains_key(dest);
        let each = self.destinations.get(dest).map_or(0, |d| d.bytes).saturating_add(bytes);
        let total = self.bytes.saturating_add(bytes);
        let requests = self.requests.sum(self.now_ms);
        let refused = self.refused_kib.sum(self.now_ms);
        let max_destinations = self.limits.destinations.map_or(MAX_DESTINATIONS, |d| d.min(MAX_DESTINATIONS));
        let destinations = self.destinations.len() + usize::from(new_destination);
        let mut level = Level::Fine;
        // A known destination stays one, however many there are.
        let new_limit = if new_destination { Some(max_destinations as u64) } else { None };
        let limits = [
            (destinations as u64, new_limit, Over::Destinations),
            (requests, self.limits.requests_per_minute.map(u64::from), Over::Requests),
            (each, self.limits.upload_bytes_each, Over::DestinationBytes),
            (each, self.own_limits.get(dest).copied(), Over::DestinationBytes),
            (total, self.limits.upload_bytes, Over::TotalBytes),
            (refused, self.limits.refused_kib_per_minute.map(u64::from), Over::Looks),
        ];
        for (used, limit, over) in limits.into_iter().chain(also) {
            level = worse(level, used, limit, over);
        }
        if !matches!(level, Level::Over(_)) {
            self.destinations.entry(dest.clone()).or_default().bytes = each;
            self.bytes = total;
        }
        self.spent(dest, level, new_destination)
    }

    /// Values of the user's that were found in a request, by a hash that the caller keys. The same value counts once a
    /// destination. Call it before anything is sent, after [`Budget::spend`].
    pub fn spend_values(&mut self, dest: &Host, hashes: impl IntoIterator<Item = u64>) -> Spent {
        self.spend_new_values(dest, hashes).0
    }

    fn spend_new_values(&mut self, dest: &Host, hashes: impl IntoIterator<Item = u64>) -> (Spent, Vec<u64>) {
        let dest = &one(dest);
        let mut taken = Vec::new();
        let limit = self.limits.values_each.map_or(MAX_VALUES, |v| v.min(MAX_VALUES));
        let Some(destination) = self.destinations.get_mut(dest) else {
            // Nothing was spent there, so nothing may be sent there.
            return (self.spent(dest, Level::Over(Over::Destinations), true), taken);
        };
        let mut level = Level::Fine;
        for hash in hashes {
            if let Some(requests) = destination.values.get_mut(&hash) {
                *requests = requests.saturating_add(1);
                taken.push(hash);
                continue;
            }
            if destination.values.len() >= limit || self.values >= MAX_VALUES {
                level = Level::Over(Over::Values);
                break;
            }
            destination.values.insert(hash, 1);
            taken.push(hash);
            self.values += 1;
        }
        let used = destination.values.len() as u64;
        let level = worse(level, used, Some(limit as u64), Over::Values);
        (self.spent(dest, level, false), taken)
    }

    fn spent(&self, dest: &Host, level: Level, new_destination: bool) -> Spent {
        let bytes_each = self.destinations.get(dest).map_or(0, |d| d.bytes);
        Spent { level, new_destination, bytes_each, bytes: self.bytes }
    }
}

impl Minute {
    fn count(&mut self, now_ms: u64, count: u32) {
        let second = now_ms - now_ms % SECOND_MS;
        let oldest = now_ms.saturating_sub(MINUTE_MS);
        while self.0.pop_front_if(|(at, _)| now_ms >= MINUTE_MS && *at <= oldest).is_some() {}
        match self.0.back_mut() {
            Some((at, counted)) if *at == second => *counted = counted.saturating_add(count),
            _ => self.0.push_back((second, count)),
        }
    }

    fn sum(&self, now_ms: u64) -> u64 {
        let oldest = now_ms.checked_sub(MINUTE_MS);
        let recent = self.0.iter().filter(|(at, _)| oldest.is_none_or(|oldest| *at > oldest));
        recent.map(|(_, count)| u64::from(*count)).sum()
    }
}

/// The worse of a level and what this limit says. Exactly the limit may be used.
fn worse(level: Level, used: u64, limit: Option<u64>, over: Over) -> Level {
    let Some(limit) = limit else { return level };
    match level {
        Level::Over(_) => level,
        _ if used > limit => Level::Over(over),
        Level::Fine if u128::from(used) * 5 >= u128::from(limit) * 4 => Level::Near(over),
        _ => level,
    }
}

/// This machine is one destination, by whichever of its names a connection or a request calls it.
fn one(dest: &Host) -> Host {
    match dest {
        Host::Address(ip) if ip.is_loopback() => Host::Name("localhost".to_owned()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn host(n: usize) -> Host {
        Host::Name(format!("h{n}.example.com"))
    }

    #[test]
    fn small_pieces_add_up() {
        let limits = Limits { upload_bytes_each: Some(100), upload_bytes: Some(150), ..Limits::default() };
        let mut budget = Budget::new(limits);
        let levels: Vec<_> = (0..11).map(|n| budget.spend(&host(0), 10, n).level).collect();
        assert_eq!(levels[..7], [Level::Fine; 7]);
        assert_eq!(levels[7..10], [Level::Near(Over::DestinationBytes); 3]);
        assert_eq!(levels[10], Level::Over(Over::DestinationBytes));
        assert_eq!(budget.spend(&host(1), 51, 20).level, Level::Over(Over::TotalBytes));
        let spent = budget.spend(&host(1), 50, 20);
        assert_eq!(spent.level, Level::Near(Over::TotalBytes));
        assert_eq!((spent.bytes_each, spent.bytes), (50, 150));
        assert_eq!(budget.spend(&host(1), u64::MAX, 20).level, Level::Over(Over::DestinationBytes));
        assert_eq!(budget.spend(&host(1), 0, 20).level, Level::Near(Over::TotalBytes));
    }

    #[test]
    fn a_destination_may_have_a_limit_of_its_own() {
        let mut budget = Budget::new(Limits { upload_bytes: Some(1000), ..Limits::default() });
        budget.limit(&host(0), 100);
        assert_eq!(budget.left(&host(0)), 100);
        assert_eq!(budget.spend(&host(0), 101, 0).level, Level::Over(Over::DestinationBytes));
        assert_eq!(budget.spend(&host(0), 70, 0).level, Level::Fine);
        assert_eq!((budget.left(&host(0)), budget.left(&host(1))), (30, 930));
        assert_eq!(budget.spend_more(&host(0), 30, 0).level, Level::Near(Over::DestinationBytes));
        assert_eq!(budget.spend(&host(1), 200, 0).level, Level::Fine);
    }

    #[test]
    fn a_limit_of_this_machine_holds_by_whichever_name_it_is_called() {
        let host = |text: &str| Host::parse(text).unwrap();
        for (named, called) in [("localhost", "::1"), ("127.0.0.1", "localhost"), ("::1", "127.0.0.1")] {
            let mut budget = Budget::new(Limits::default());
            budget.limit(&host(&bracketed(named)), 100);
            let called = host(&bracketed(called));
            assert_eq!(budget.spend(&called, 101, 0).level, Level::Over(Over::DestinationBytes), "{named}");
            assert_eq!(budget.left(&called), 100);
        }
    }

    fn bracketed(host: &str) -> String {
        if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
    }

    #[test]
    fn requests_are_counted_over_a_sliding_minute() {
        let limits = Limits { requests_per_minute: Some(10), ..Limits::default() };
        let mut budget = Budget::new(limits);
        for n in 0..10 {
            assert!(!matches!(budget.spend(&host(0), 1, n * 1000).level, Level::Over(_)));
        }
        assert_eq!(budget.spend(&host(0), 1, 30_000).level, Level::Over(Over::Requests));
        assert_eq!(budget.spend(&host(0), 1, 0).level, Level::Over(Over::Requests), "the clock went back");
        assert!(!matches!(budget.spend(&host(0), 1, 65_000).level, Level::Over(_)));
        assert!(!matches!(budget.spend(&host(0), 1, 10_000_000).level, Level::Over(_)));
    }

    #[test]
    fn messages_are_counted_by_themselves_over_a_sliding_minute() {
        let limits =
            Limits { messages_per_minute: Some(10), requests_per_minute: Some(2), ..Limits::default() };
        let mut budget = Budget::new(limits);
        assert_eq!(budget.spend_messages(&host(0), 7, 70, 0).level, Level::Fine);
        assert_eq!(budget.spend_messages(&host(0), 3, 70, 1000).level, Level::Near(Over::Messages));
        assert_eq!(budget.spend_messages(&host(0), 1, 7, 2000).level, Level::Over(Over::Messages));
        assert_eq!(budget.spend(&host(0), 1, 2000).level, Level::Fine, "a request is no message");
        assert_eq!(budget.spend_messages(&host(0), 1, 7, 130_000).level, Level::Fine);
    }

    #[test]
    fn destinations_are_bounded() {
        let mut budget = Budget::new(Limits { destinations: Some(5), ..Limits::default() });
        assert!(budget.spend(&host(0), 1, 0).new_destination);
        assert!(!budget.spend(&host(0), 1, 0).new_destination);
        for n in 1..5 {
            assert!(!matches!(budget.spend(&host(n), 1, 0).level, Level::Over(_)));
        }
        assert_eq!(budget.spend(&host(5), 1, 0).level, Level::Over(Over::Destinations));
        assert_eq!(budget.spend(&host(4), 1, 0).level, Level::Fine, "a known one goes on");
        let mut without_limit = Budget::new(Limits::default());
        let last = (0..=MAX_DESTINATIONS).map(|n| without_limit.spend(&host(n), 1, 0).level).last();
        assert_eq!(last, Some(Level::Over(Over::Destinations)));
    }

    #[test]
    fn different_values_are_counted_once_each() {
        let mut budget = Budget::new(Limits { values_each: Some(10), ..Limits::default() });
        assert_eq!(budget.spend_values(&host(0), [1]).level, Level::Over(Over::Destinations));
        let _ = budget.spend(&host(0), 1, 0);
        assert_eq!(budget.spend_values(&host(0), [1, 1, 1, 2]).level, Level::Fine);
        assert_eq!(budget.spend_values(&host(0), 0..8).level, Level::Near(Over::Values));
        assert_eq!(budget.spend_values(&host(0), 0..10).level, Level::Near(Over::Values));
        assert_eq!(budget.spend_values(&host(0), [11]).level, Level::Over(Over::Values));
        assert_eq!(budget.spend_values(&host(0), [3]).level, Level::Near(Over::Values), "known already");
    }

    #[test]
    fn what_is_refused_is_given_back_and_counted_as_a_look() {
        let limits = Limits {
            upload_bytes: Some(100_000),
            values_each: Some(2),
            refused_kib_per_minute: Some(1_000),
            ..Limits::default()
        };
        let mut budget = Budget::new(limits);
        for _ in 0..10 {
            let (level, taken) = budget.take(&host(0), 90_000, [1, 2], 0);
            assert!(!matches!(level, Level::Over(_)), "{level:?}");
            budget.give_back(taken, 0);
        }
        assert_eq!(budget.left(&host(0)), 100_000);
        // A value of a request that is decided on is counted once, and stays so when another one with it is refused.
        let mut of_one = Budget::new(Limits { values_each: Some(1), ..Limits::default() });
        let (_, waits) = of_one.take(&host(0), 1, [7], 0);
        let (_, sent) = of_one.take(&host(0), 1, [7, 7], 0);
        assert_eq!(sent.values, [7, 7]);
        of_one.give_back(waits, 0);
        assert_eq!(of_one.spend_values(&host(0), [8]).level, Level::Over(Over::Values));
        // Values that were sent before stay counted when another request with them is refused.
        let (_, sent) = budget.take(&host(0), 1_000, [1], 0);
        assert_eq!(sent.values, [1]);
        let (_, refused) = budget.take(&host(0), 1_000, [1, 2], 0);
        budget.give_back(refused, 0);
        assert_eq!(budget.spend_values(&host(0), [2, 3]).level, Level::Over(Over::Values));
        // A flood of what is refused ends for a minute.
        assert!(budget.may_look(0));
        while budget.may_look(0) {
            let (_, taken) = budget.take(&host(0), 90_000, [], 0);
            budget.give_back(taken, 0);
        }
        assert_eq!(budget.take(&host(0), 1, [], 59_000).0, Level::Over(Over::Looks));
        assert!(budget.may_look(61_000));
        // Its values are all used by then, its bytes are not.
        assert_eq!(budget.take(&host(0), 1, [], 61_000).0, Level::Near(Over::Values));
        let (_, messages) = budget.take_messages(&host(0), 3, 50_000, 61_000);
        budget.give_back(messages, 61_000);
        assert_eq!(budget.left(&host(0)), 98_999);
    }

    #[test]
    fn what_was_over_a_budget_gives_nothing_back() {
        let mut budget = Budget::new(Limits { upload_bytes: Some(100), ..Limits::default() });
        let (_, sent) = budget.take(&host(0), 80, [], 0);
        assert_eq!(sent.bytes, 80);
        let (level, over) = budget.take(&host(0), 30, [], 0);
        assert_eq!(level, Level::Over(Over::TotalBytes));
        budget.give_back(over, 0);
        assert_eq!(budget.left(&host(0)), 20);
    }

    proptest! {
        #[test]
        fn nobody_ever_sends_more_than_the_limit(
            spends in proptest::collection::vec((0usize..4, 0u64..60, 0u64..100_000), 1..60),
        ) {
            let limits = Limits { upload_bytes_each: Some(100), upload_bytes: Some(200), ..Limits::default() };
            let mut budget = Budget::new(limits);
            let mut sent = 0;
            for (dest, bytes, now_ms) in spends {
                let spent = budget.spend(&host(dest), bytes, now_ms);
                if !matches!(spent.level, Level::Over(_)) {
                    sent += bytes;
                }
                prop_assert!(spent.bytes_each <= 100 && spent.bytes <= 200);
                prop_assert_eq!(spent.bytes, sent);
                prop_assert!(budget.requests.0.len() <= 62);
            }
        }
    }
}
