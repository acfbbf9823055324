//! The right edge of the Merkle tree in memory; full tiles come from disk.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tlog_tiles::tile::Tile;
use tlog_tiles::tlog::{self, Error, Hash, HashReader};

use crate::LogError;
use crate::layout::{self, WIDTH};

pub(crate) struct Tree {
    dir: PathBuf,
    pub size: u64,
    edge: Vec<Vec<Hash>>,
    /// Full tiles not known to be on disk.
    pub fresh: BTreeMap<(u8, u64), Vec<u8>>,
}

impl Tree {
    /// A tree of `tiles` full tiles whose hash tiles lie in `dir`.
    pub fn load(dir: &Path, tiles: u64) -> Result<Self, LogError> {
        let mut tree = Self {
            dir: dir.to_owned(),
            size: tiles * WIDTH as u64,
            edge: vec![Vec::new()],
            fresh: BTreeMap::new(),
        };
        let (mut level, mut below) = (1u8, tiles);
        while below > 0 {
            let start = below - below % WIDTH as u64;
            let mut edge = Vec::new();
            for n in start..below {
                edge.push(Tile::subtree_hash(&tree.disk(level - 1, n)?));
            }
            tree.edge.push(edge);
            below /= WIDTH as u64;
            level += 1;
        }
        Ok(tree)
    }

    pub fn push(&mut self, leaf: &[u8]) {
        let mut hash = tlog::record_hash(leaf);
        self.size += 1;
        for level in 0u8.. {
            if self.edge.len() <= usize::from(level) {
                self.edge.push(Vec::new());
            }
            let Some(edge) = self.edge.get_mut(usize::from(level)) else { return };
            edge.push(hash);
            if edge.len() < WIDTH {
                return;
            }
            let data = bytes(edge);
            edge.clear();
            hash = Tile::subtree_hash(&data);
            let n = (self.size >> (8 * (u32::from(level) + 1))) - 1;
            self.fresh.insert((level, n), data);
        }
    }

    pub fn root(&self, size: u64) -> Result<[u8; 32], LogError> {
        tlog::tree_hash(size, self).map(|h| h.0).map_err(|e| self.bad(&e))
    }
    pub fn consistency(&self, size: u64, old: u64) -> Result<Vec<[u8; 32]>, LogError> {
        if old == 0 || old == size {
            return Ok(Vec::new());
        }
        let proof = tlog::prove_tree(size, old, self).map_err(|e| self.bad(&e))?;
        Ok(proof.into_iter().map(|h| h.0).collect())
    }
    pub fn inclusion(&self, size: u64, seq: u64) -> Result<Vec<Hash>, LogError> {
        tlog::prove_record(size, seq, self).map_err(|e| self.bad(&e))
    }

    fn bad(&self, e: &Error) -> LogError {
        LogError::corrupt(&self.dir, format!("the hash tiles do not form a tree ({e})"))
    }
    fn disk(&self, level: u8, n: u64) -> Result<Vec<u8>, LogError> {
        let name = layout::hash_tile(level, n);
        let data = layout::read(&self.dir, &name)?;
        if data.len() != WIDTH * 32 {
            return Err(LogError::corrupt(&self.dir.join(name), "a hash tile of the wrong length"));
        }
        Ok(data)
    }
}

fn bytes(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|h| h.0).collect()
}

impl HashReader for Tree {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, Error> {
        indexes
            .iter()
            .map(|&index| {
                let want = Tile::from_index(8, index);
                let (level, n) = (want.level(), want.level_index());
                let full = (self.size >> (8 * u32::from(level))) / WIDTH as u64;
                let data = if let Some(data) = self.fresh.get(&(level, n)) {
                    data.clone()
                } else if n < full {
                    self.disk(level, n).map_err(|_| Error::InvalidTile)?
                } else {
                    bytes(self.edge.get(usize::from(level)).ok_or(Error::InvalidTile)?)
                };
                let width = u32::try_from(data.len() / 32).map_err(|_| Error::InvalidTile)?;
                if width < want.width() {
                    return Err(Error::InvalidTile);
                }
                Tile::new(8, level, n, width, false).hash_at_index(&data, index)
            })
            .collect()
    }
}
