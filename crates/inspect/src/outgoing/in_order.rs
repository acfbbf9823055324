//! Texts that were read, recognised by the order in which their pieces are sent, whatever stands between the pieces and in which coding
//! or direction each of them comes. A piece of a few letters stands in many texts; that it is just the one that follows on the piece
//! before it is chance once in thousands, and a dozen times in a row it is none.
//!
//! The method is that of aligning sequences: matches that go on from each other are chained (seed, extend, chain; Altschul et al. 1990).

mod chains;
#[cfg(test)]
mod tests;
mod texts;

pub use chains::Progress;
pub use texts::InOrder;
