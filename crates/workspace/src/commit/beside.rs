//! What one change is committed beside: the rest of the commit, and what the directory has.

use std::collections::BTreeSet;

use super::dependencies::Dependencies;
use super::guards::Guards;
use super::link::Links;
use super::named::Named;
use super::objects::Objects;
use super::operation::Operations;
use super::repository::{Lost, Others};
use super::tidied::Tidied;
use super::tracked::Tracked;

/// What a change is committed with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Beside<'a> {
    /// Changes of the commit that take a file away, but what is `tidied`.
    pub removals: usize,
    /// Removals of what a repository still has elsewhere.
    pub tidied: &'a Tidied<'a>,
    /// Caches that a repository will know.
    pub tracked: &'a Tracked,
    /// The change is the removal of what comes to another name.
    pub moves: bool,
    /// The change leaves nothing of what the file was.
    pub ruins: bool,
    /// Paths of the mount that the commit brings.
    pub brings: &'a BTreeSet<&'a str>,
    /// The links of the stage.
    pub links: &'a Links,
    /// Directories of dependencies that are new.
    pub dependencies: &'a Dependencies,
    /// Repositories that the commit would take away.
    pub lost: &'a Lost,
    /// Repositories that are not called `.git`.
    pub others: &'a Others,
    /// What protects something and goes.
    pub guards: &'a Guards<'a>,
    /// What the repositories have, and will have.
    pub objects: &'a Objects<'a>,
    /// What settings of git name.
    pub named: &'a Named,
    /// What git is in the middle of.
    pub operations: &'a Operations,
}
