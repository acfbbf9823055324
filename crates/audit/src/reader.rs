//! Reading a log while another process writes it.
use std::path::{Path, PathBuf};

use crate::layout::{self, Record, WIDTH};
use crate::{Damaged, Found, Keys, Leaf, LogError, Part, payload, rfc3339_millis, salvage};

/// Which leaves `query` gives; `None` lets everything through. Times are milliseconds since 1970, themselves included.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub session: Option<String>,
    pub since: Option<u64>,
    pub until: Option<u64>,
    pub action: Option<String>,
    pub effect: Option<String>,
    pub rule: Option<String>,
}

impl Filter {
    /// What a leaf has to be. The times are written as in a leaf once, whose order as text is that in time.
    fn check(self) -> impl Fn(&Leaf) -> bool {
        let (since, until) = (self.since.map(rfc3339_millis), self.until.map(rfc3339_millis));
        move |leaf| self.lets(leaf, since.as_deref(), until.as_deref())
    }

    fn lets(&self, leaf: &Leaf, since: Option<&str>, until: Option<&str>) -> bool {
        let is = |want: &Option<String>, has: &str| want.as_deref().is_none_or(|w| w == has);
        let e = &leaf.entry;
        is(&self.session, &e.session)
            && is(&self.action, &e.action)
            && is(&self.effect, &e.effect)
            && (self.rule.is_none() || self.rule == e.rule)
            && since.is_none_or(|since| leaf.time.as_str() >= since)
            && until.is_none_or(|until| leaf.time.as_str() <= until)
    }
}

pub struct Reader {
    dir: PathBuf,
}

/// Follows a log from a `seq`; `poll` gives what is new.
pub struct Follow {
    reader: Reader,
    next: u64,
}

impl Reader {
    pub fn open(dir: &Path) -> Result<Self, LogError> {
        layout::pending_numbers(dir)?;
        Ok(Self { dir: dir.to_owned() })
    }

    /// Matching leaves, oldest first.
    pub fn query(&self, filter: Filter) -> impl Iterator<Item = Result<Leaf, LogError>> + '_ {
        let lets = filter.check();
        self.tiles(0)
            .flat_map(|tile| match tile {
                Ok(records) => records.iter().map(|r| self.leaf(r)).collect::<Vec<_>>(),
                Err(e) => vec![Err(e)],
            })
            .filter(move |leaf| leaf.as_ref().map_or(true, &lets))
    }

    /// What can be read of the log from record `from` on, oldest first, with the matching leaves and everything that is damaged.
    pub fn salvage(&self, from: u64, filter: Filter) -> Result<impl Iterator<Item = Found>, LogError> {
        let lets = filter.check();
        let found = salvage::read(&self.dir, from)?;
        Ok(found.filter(move |found| match found {
            Found::Leaf(leaf) => lets(leaf),
            Found::Damaged(_) => true,
        }))
    }

    /// One leaf and, when it has one, its decrypted payload.
    pub fn show(&self, seq: u64, keys: &dyn Keys) -> Result<(Leaf, Option<serde_json::Value>), LogError> {
        let record = self.record(seq)?;
        let leaf = self.leaf(&record)?;
        let Some(id) = &leaf.key_id else { return Ok((leaf, None)) };
        let (_, key) = keys.data_key(Some(id))?;
        let payload = payload::open(&key, &leaf, &record.sealed).ok_or(LogError::NoPayload(seq))?;
        Ok((leaf, Some(payload)))
    }

    /// Leaves from `seq` on, as another process writes them.
    pub fn follow(self, seq: u64) -> Follow {
        Follow { reader: self, next: seq }
    }

    pub(crate) fn record(&self, seq: u64) -> Result<Record, LogError> {
        let records = self.tile(seq / WIDTH as u64)?.ok_or(LogError::NoRecord(seq))?;
        records.into_iter().nth((seq % WIDTH as u64) as usize).ok_or(LogError::NoRecord(seq))
    }

    /// Every tile from `n` on, the last one perhaps partial.
    pub(crate) fn tiles(&self, n: u64) -> impl Iterator<Item = Result<Vec<Record>, LogError>> + '_ {
        (n..).map_while(|n| self.tile(n).transpose())
    }

    /// Pending first: a segment disappears only after its tile is there.
    fn tile(&self, n: u64) -> Result<Option<Vec<Record>>, LogError> {
        match layout::read(&self.dir, &layout::pending(n)) {
            Ok(bytes) => return Ok(Some(layout::read_segment(&bytes).records)),
            Err(LogError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
        let name = layout::entries(n);
        if !self.dir.join(&name).exists() {
            return Ok(None);
        }
        let records = layout::unbundle(
            &layout::read(&self.dir, &name)?,
            &layout::read(&self.dir, &layout::payloads(n))?,
        );
        records.map(Some).ok_or_else(|| LogError::corrupt(&self.dir.join(name), "a malformed bundle"))
    }

    fn leaf(&self, record: &Record) -> Result<Leaf, LogError> {
        Leaf::from_bytes(&record.leaf).ok_or_else(|| LogError::corrupt(&self.dir, "a leaf is not canonical"))
    }
}

impl Follow {
    /// What was written since the last call. What cannot be read at the end is left for the next one: it may be half written.
    pub fn poll(&mut self) -> Result<Vec<Found>, LogError> {
        let mut all = Vec::new();
        for found in self.reader.salvage(self.next, Filter::default())? {
            match &found {
                Found::Damaged(Damaged { at_end: true, .. }) => break,
                Found::Damaged(Damaged { last, part: Part::Record, .. }) => {
                    self.next = self.next.max(last + 1)
                }
                Found::Damaged(_) => {}
                Found::Leaf(leaf) => self.next = self.next.max(leaf.seq + 1),
            }
            all.push(found);
        }
        Ok(all)
    }
}
