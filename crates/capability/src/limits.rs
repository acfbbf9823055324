//! What bounds a token, and what each bound protects.

/// A whole token, chain included: bounds parsing work on a hostile channel.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// Links after the root: bounds signature checks a request (one is about 50 µs).
pub const MAX_LINKS: usize = 8;
/// Permissions of one token: bounds the subset check of a link, which compares each with each.
pub const MAX_PERMISSIONS: usize = 128;
/// One path pattern: `PATH_MAX` is 4,096, and a token holds many.
pub const MAX_PATTERN_BYTES: usize = 1024;
/// Segments between two `**`: keeps matching linear in the path.
pub const MAX_INNER_SEGMENTS: usize = 8;
/// Names of agents, sessions, tools and keys: they reach logs and prompts.
pub const MAX_NAME_BYTES: usize = 128;
/// Seconds a token lives when nothing else is asked: 1 h.
pub const DEFAULT_TTL: u64 = 3600;
/// Seconds a token may live: 12 h, a working day; longer sessions renew.
pub const MAX_TTL: u64 = 12 * 3600;
