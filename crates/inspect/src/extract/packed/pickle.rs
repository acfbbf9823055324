//! Pickles of Python, protocols 2 to 5: the values that one would make, without making anything. What is called is kept as a list of its
//! arguments.
//!
//! Source: `Lib/pickletools.py` of CPython.

use std::collections::HashMap;

use super::cursor::{Cursor, Parsed, Wrong, signed, size};
use super::tree::{Node, Tree};

struct Machine<'b> {
    cursor: Cursor<'b>,
    tree: Tree<'b>,
    stack: Vec<u32>,
    marks: Vec<usize>,
    memo: HashMap<u64, u32>,
}

/// One pickle or several, one behind the other.
pub(super) fn parse(bytes: &[u8]) -> Parsed<Tree<'_>> {
    let mut machine = Machine {
        cursor: Cursor::new(bytes),
        tree: Tree::default(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
    };
    while !machine.cursor.is_done() {
        if machine.step()? {
            if let Some(root) = machine.stack.last() {
                machine.tree.root(*root);
            }
            machine.stack.clear();
            machine.marks.clear();
            machine.memo.clear();
        }
    }
    if machine.stack.is_empty() { Ok(machine.tree) } else { Err(Wrong::Cut) }
}

impl<'b> Machine<'b> {
    /// Does one operation; true when it ends a pickle.
    fn step(&mut self) -> Parsed<bool> {
        let code = self.cursor.byte()?;
        match code {
            b'.' => return Ok(true),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.stack.pop()),
            b'1' => drop(self.marked()?),
            b'2' => self.stack.push(*self.stack.last().ok_or(Wrong::Otherwise)?),
            0x80 => drop(self.cursor.byte()?),
            0x95 => drop(self.cursor.take(8)?),
            b'p' | b'q' | b'r' | 0x94 | b'g' | b'h' | b'j' => self.memo(code)?,
            b'a' | b'e' | b's' | b'u' | 0x90 | b'b' => self.fill(code)?,
            b'l' | b't' | b'd' | b'i' | b'o' | 0x85..=0x87 | b'R' | 0x81 | 0x92 | 0x93 | 0x91 | b'Q' => {
                self.collect(code)?
            }
            0x97 | 0x98 => {}
            _ => {
                let node = self.scalar(code)?;
                self.push(node)?;
            }
        }
        Ok(false)
    }

    fn push(&mut self, node: Node<'b>) -> Parsed<()> {
        let node = self.tree.add(node)?;
        self.stack.push(node);
        Ok(())
    }

    /// What was put on the stack since the last mark.
    fn marked(&mut self) -> Parsed<Vec<u32>> {
        let mark = self.marks.pop().filter(|m| *m <= self.stack.len()).ok_or(Wrong::Otherwise)?;
        Ok(self.stack.split_off(mark))
    }

    fn last(&mut self, count: usize) -> Parsed<Vec<u32>> {
        let from = self.stack.len().checked_sub(count).ok_or(Wrong::Otherwise)?;
        Ok(self.stack.split_off(from))
    }

    fn line(&mut self) -> Parsed<&'b [u8]> {
        self.cursor.until(b'\n')
    }

    /// Numbers, texts, and what else stands for itself.
    fn scalar(&mut self, code: u8) -> Parsed<Node<'b>> {
        let integer = |line: &[u8]| {
            let text = std::str::from_utf8(line).unwrap_or_default().trim().trim_end_matches('L').to_owned();
            text.parse().map_or(Node::Nothing, Node::Integer)
        };
        let c = &mut self.cursor;
        Ok(match code {
            b'K' => Node::Integer(c.byte()?.into()),
            b'M' => Node::Integer(c.little(2)?.into()),
            b'J' => Node::Integer(signed(c.little(4)?, 4)),
            0x8a | 0x8b => {
                let length = size(c.little(if code == 0x8a { 1 } else { 4 })?)?;
                let bytes = c.take(length)?;
                let number = Cursor::new(bytes).little(length.min(8))?;
                // A longer one is nothing that is looked for.
                if length <= 8 { Node::Integer(signed(number, length.max(1))) } else { Node::Nothing }
            }
            b'I' | b'L' => integer(self.line()?),
            b'G' => Node::Real(f64::from_be_bytes(c.array()?)),
            b'F' | b'P' | b'S' | b'V' => Node::Text(self.line()?),
            b'U' | b'T' | b'X' | 0x8c | 0x8d => {
                let length = match code {
                    b'U' | 0x8c => 1,
                    0x8d => 8,
                    _ => 4,
                };
                let length = size(c.little(length)?)?;
                Node::Text(c.take(length)?)
            }
            b'B' | b'C' | 0x8e | 0x96 => {
                let length = match code {
                    b'C' => 1,
                    b'B' => 4,
                    _ => 8,
                };
                let length = size(c.little(length)?)?;
                Node::Bytes(c.take(length)?)
            }
            b'c' => {
                self.line()?;
                self.line()?;
                Node::Nothing
            }
            0x82..=0x84 => {
                c.take(1 << (code - 0x82))?;
                Node::Nothing
            }
            b'N' | 0x88 | 0x89 => Node::Nothing,
            b']' | b')' | 0x8f => Node::List(Vec::new()),
            b'}' => Node::Map(Vec::new()),
            _ => return Err(Wrong::Otherwise),
        })
    }

    fn memo(&mut self, code: u8) -> Parsed<()> {
        let key = match code {
            b'q' | b'h' => self.cursor.little(1)?,
            b'r' | b'j' => self.cursor.little(4)?,
            0x94 => self.memo.len() as u64,
            _ => crate::validate::number(self.line()?).ok_or(Wrong::Otherwise)?,
        };
        if matches!(code, b'g' | b'h' | b'j') {
            self.stack.push(*self.memo.get(&key).ok_or(Wrong::Otherwise)?);
        } else {
            self.memo.insert(key, *self.stack.last().ok_or(Wrong::Otherwise)?);
        }
        Ok(())
    }

    /// Puts values into what lies below them.
    fn fill(&mut self, code: u8) -> Parsed<()> {
        let values = match code {
            b'a' | b'b' => self.last(1)?,
            b's' => self.last(2)?,
            _ => self.marked()?,
        };
        let into = *self.stack.last().ok_or(Wrong::Otherwise)?;
        match self.tree.get_mut(into).ok_or(Wrong::Otherwise)? {
            Node::Map(pairs) if matches!(code, b's' | b'u') => {
                pairs.extend(values.as_chunks::<2>().0.iter().map(|[key, value]| (*key, *value)));
            }
            Node::List(items) if !matches!(code, b's' | b'u') => items.extend(values),
            // The keys and values of an object that is none of ours.
            Node::List(items) => items.extend(values),
            _ => {
                let mut items = vec![into];
                items.extend(values);
                self.stack.pop();
                self.push(Node::List(items))?;
            }
        }
        Ok(())
    }

    /// Makes one value of several.
    fn collect(&mut self, code: u8) -> Parsed<()> {
        if code == b'i' {
            self.line()?;
            self.line()?;
        }
        let values = match code {
            0x85..=0x87 => self.last(usize::from(code - 0x84))?,
            b'R' | 0x81 | 0x93 => self.last(2)?,
            0x92 => self.last(3)?,
            b'Q' => self.last(1)?,
            _ => self.marked()?,
        };
        self.push(match code {
            b'd' => Node::Map(values.as_chunks::<2>().0.iter().map(|[key, value]| (*key, *value)).collect()),
            // The name of something in a module.
            0x93 => Node::Nothing,
            _ => Node::List(values),
        })
    }
}
