//! The places of a request that the agent fills, each of which may carry a piece of something longer.

use std::collections::HashSet;

/// Longest body that counts as a piece of something longer.
pub(crate) const PIECE: usize = 1 << 10;
/// Longest one that is compared with those before it: what varies in it may be such a piece.
pub(crate) const VARYING: usize = 16 << 10;
/// Longest one in which texts that were read are followed.
pub(crate) const FOLLOWED: usize = 64 << 10;
/// What one small request consists of.
#[derive(Debug, Default)]
pub(crate) struct Values {
    /// What carries it: the body, the query, or the last name of the path.
    pub main: Vec<u8>,
    pub main_is: Main,
    /// There is no body that carries it.
    pub main_in_target: bool,
    pub slots: Vec<Slot>,
    /// A body that is too long to be compared with those before it.
    pub long: Vec<u8>,
}

impl Values {
    /// Which slots of the head hold a passage by themselves, and whether the body does, where it is known that the request has one: where
    /// no place of the head holds it, the body does, in whatever it is packed.
    pub fn holding(&self, holds: impl Fn(&[u8]) -> bool) -> (HashSet<u64>, bool) {
        let of_body = |slot: &&Slot| slot.kind == Kind::Body;
        let head = self.slots.iter().filter(|slot| !of_body(slot) && holds(&slot.bytes));
        let head: HashSet<u64> = head.map(|slot| slot.id).collect();
        let body = self.slots.iter().filter(of_body).map(|slot| &slot.bytes).chain([&self.long]);
        let in_body = head.is_empty() || body.into_iter().any(|bytes| holds(bytes));
        (head, in_body)
    }
}

/// What a small request is carried by.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Main {
    #[default]
    Value,
    /// A name of a path.
    Name,
    /// The same that is one word, as places of a server are called.
    Word,
}

/// A place in a request that the agent fills, and what is in it.
#[derive(Debug)]
pub(crate) struct Slot {
    pub id: u64,
    pub kind: Kind,
    /// It is in the path or the query.
    pub in_target: bool,
    pub bytes: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Of a query, a header, a cookie.
    Value,
    /// The name of a header; there is no letter case in it.
    Name,
    /// Of a WebSocket.
    Message,
    /// Of a body, or the name of a cookie.
    Word,
    /// A whole body: of it what varies, for what its values say together is looked at where they stand.
    Body,
    /// Of a path, or a name in a query. Lists of packages are read and then asked for one by one: passages are looked for only in
    /// what is encoded, or several words.
    Path,
    /// The labels of a host. Machines are asked for one by one, too: only keys and registered values are looked for.
    Label,
}
