//! Values with the keys that they stand under, whatever packed them.

use super::cursor::{Parsed, Wrong};

/// Values of one file; protects memory. A file of more is read as the binary file that it is.
const MOST_NODES: usize = 2_000_000;

#[derive(Debug)]
pub(super) enum Node<'b> {
    Nothing,
    Integer(i128),
    Real(f64),
    Text(&'b [u8]),
    /// Text that had to be made.
    Made(String),
    Bytes(&'b [u8]),
    List(Vec<u32>),
    Map(Vec<(u32, u32)>),
}

/// All values of a file.
#[derive(Debug, Default)]
pub(super) struct Tree<'b> {
    nodes: Vec<Node<'b>>,
    roots: Vec<u32>,
}

impl<'b> Tree<'b> {
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn add(&mut self, node: Node<'b>) -> Parsed<u32> {
        if self.nodes.len() >= MOST_NODES {
            return Err(Wrong::Otherwise);
        }
        self.nodes.push(node);
        Ok(self.nodes.len() as u32 - 1)
    }

    pub(super) fn root(&mut self, node: u32) {
        self.roots.push(node);
    }

    pub(super) fn get(&self, node: u32) -> Option<&Node<'b>> {
        self.nodes.get(node as usize)
    }

    pub(super) fn get_mut(&mut self, node: u32) -> Option<&mut Node<'b>> {
        self.nodes.get_mut(node as usize)
    }

    pub(super) fn roots(&self) -> &[u32] {
        &self.roots
    }
}
