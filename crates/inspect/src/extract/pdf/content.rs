//! The text that a content stream shows (ISO 32000-1, 9.4), in its order, with lines and blanks where the places of the
//! characters say so: a number may be drawn digit by digit.

use std::collections::HashMap;
use std::rc::Rc;

use super::font::{self, Font};
use super::value::{Lexer, Value};

/// Values of one content; protects time.
const MOST_VALUES: usize = 20_000_000;
/// Operands before an operator; more is none of the operators here.
const MOST_OPERANDS: usize = 64;
/// A gap between two characters of so much of their size is a blank.
const BLANK: f64 = 0.18;
/// A move up or down of so much of their size is another line.
const LINE: f64 = 0.35;

/// By the names that a content gives them.
pub(super) type Fonts = HashMap<Vec<u8>, Rc<Font>>;

type Matrix = [f64; 6];
const IDENTITY: Matrix = [1.0, 0.0, 0.0, 1.0, 0.0, 0.0];

struct Page<'f> {
    fonts: &'f Fonts,
    font: Rc<Font>,
    size: f64,
    leading: f64,
    rise: f64,
    character_space: f64,
    word_space: f64,
    scale: f64,
    /// Where the line begins, and where the next character comes.
    line: Matrix,
    text: Matrix,
    /// Where the last character ended, and its size there.
    last: Option<(f64, f64, f64)>,
    out: String,
    /// Operators of contents that were seen: none of them in what is no content.
    operators: usize,
}

/// The text of a content, and whether it is one.
pub(super) fn read(content: &[u8], fonts: &Fonts) -> (String, bool) {
    let mut page = Page {
        fonts,
        font: Rc::new(Font::unknown()),
        size: 1.0,
        leading: 0.0,
        rise: 0.0,
        character_space: 0.0,
        word_space: 0.0,
        scale: 1.0,
        line: IDENTITY,
        text: IDENTITY,
        last: None,
        out: String::new(),
        operators: 0,
    };
    let mut lexer = Lexer::new(content, 0, MOST_VALUES);
    let mut operands: Vec<Value> = Vec::new();
    while let Some(value) = lexer.value() {
        match value {
            Value::Word(word) if word == b"ID" => skip_image(&mut lexer),
            Value::Word(word) => page.operator(&word, &operands),
            value => {
                if operands.len() < MOST_OPERANDS {
                    operands.push(value);
                }
                continue;
            }
        }
        operands.clear();
    }
    (page.out, page.operators > 0)
}

/// Behind the data of a picture that stands in the content.
fn skip_image(lexer: &mut Lexer<'_>) {
    let rest = lexer.data.get(lexer.at..).unwrap_or_default();
    let end = memchr::memmem::find_iter(rest, b"EI").find(|at| {
        let blank = |i: Option<usize>| i.and_then(|i| rest.get(i)).is_none_or(u8::is_ascii_whitespace);
        blank(at.checked_sub(1)) && blank(Some(at + 2))
    });
    // Without an end it may be none: what follows is read.
    lexer.at += end.map_or(0, |at| at + 2);
}

impl Page<'_> {
    fn operator(&mut self, word: &[u8], operands: &[Value]) {
        let number = |i: usize| operands.get(i).and_then(Value::number).unwrap_or(0.0);
        let known = matches!(
            word,
            b"BT"
                | b"Tj"
                | b"TJ"
                | b"Tf"
                | b"Tm"
                | b"Td"
                | b"re"
                | b"cm"
                | b"q"
                | b"gs"
                | b"Do"
                | b"d0"
                | b"d1"
        );
        self.operators += usize::from(known);
        match word {
            b"BT" => (self.line, self.text) = (IDENTITY, IDENTITY),
            b"Tf" => {
                let name = operands.first().map(Value::name).unwrap_or_default();
                self.font = self.fonts.get(name).cloned().unwrap_or_else(|| Rc::new(Font::unknown()));
                self.size = number(1);
            }
            b"Tc" => self.character_space = number(0),
            b"Tw" => self.word_space = number(0),
            b"Tz" => self.scale = number(0) / 100.0,
            b"TL" => self.leading = number(0),
            b"Ts" => self.rise = number(0),
            b"Td" => self.moves(number(0), number(1)),
            b"TD" => {
                self.leading = -number(1);
                self.moves(number(0), number(1));
            }
            b"T*" => self.moves(0.0, -self.leading),
            b"Tm" => {
                self.line = [number(0), number(1), number(2), number(3), number(4), number(5)];
                self.text = self.line;
            }
            b"Tj" => self.show(operands.first()),
            b"'" => {
                self.moves(0.0, -self.leading);
                self.show(operands.first());
            }
            b"\"" => {
                (self.word_space, self.character_space) = (number(0), number(1));
                self.moves(0.0, -self.leading);
                self.show(operands.get(2));
            }
            b"TJ" => {
                for piece in operands.first().map(Value::list).unwrap_or_default() {
                    match piece {
                        Value::Number(n) => self.advance(-n / 1000.0 * self.size * self.scale),
                        piece => self.show(Some(piece)),
                    }
                }
            }
            b"BDC" => {
                let said = operands.get(1).and_then(Value::dict).and_then(|d| d.get(&b"ActualText"[..]));
                if let Some(Value::String(said)) = said {
                    self.out.push('\n');
                    self.out.push_str(&font::text(said));
                    self.out.push('\n');
                    self.last = None;
                }
            }
            _ => {}
        }
    }

    fn moves(&mut self, x: f64, y: f64) {
        let m = &mut self.line;
        m[4] += x * m[0] + y * m[2];
        m[5] += x * m[1] + y * m[3];
        self.text = self.line;
    }

    fn advance(&mut self, by: f64) {
        let m = &mut self.text;
        m[4] += by * m[0];
        m[5] += by * m[1];
    }

    fn show(&mut self, string: Option<&Value>) {
        let Some(Value::String(codes)) = string else { return };
        if codes.is_empty() {
            return;
        }
        let at = self.place();
        self.part(at);
        let begin = self.out.len();
        let (width, count) = self.font.show(codes, &mut self.out);
        let blanks = self.out.get(begin..).unwrap_or_default().bytes().filter(|b| *b == b' ').count();
        let spaces = self.character_space * count as f64 + self.word_space * blanks as f64;
        self.advance((width * self.size + spaces) * self.scale);
        self.last = Some(self.place());
    }

    /// Along the line, across it, and the size, as they are on the page.
    fn place(&self) -> (f64, f64, f64) {
        let m = &self.text;
        let length = m[0].hypot(m[1]);
        let (cos, sin) = if length > 0.0 { (m[0] / length, m[1] / length) } else { (1.0, 0.0) };
        let along = m[4] * cos + m[5] * sin;
        let across = -m[4] * sin + m[5] * cos;
        (along, across, (self.size * m[2].hypot(m[3])).abs().max(1e-6))
    }

    /// A blank or a new line between the last character and one at `at`, where their places are apart.
    fn part(&mut self, (x, y, size): (f64, f64, f64)) {
        let Some((before, line, other)) = self.last else {
            if !self.out.is_empty() {
                self.out.push('\n');
            }
            return;
        };
        let size = size.max(other);
        let across = (y - line).abs();
        if across.is_nan() || across > LINE * size {
            self.out.push('\n');
        } else if x - before > 3.0 * size {
            self.out.push('\t');
        } else if x - before > BLANK * size || before - x > size {
            self.out.push(' ');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Fonts, read};

    fn shown(content: &str) -> String {
        read(content.as_bytes(), &Fonts::new()).0
    }

    #[test]
    fn a_number_in_pieces_comes_together() {
        assert_eq!(shown("BT /F 10 Tf [(53)10(6-2)-20(2-8)(741)] TJ ET"), "536-22-8741");
        assert_eq!(shown("BT /F 10 Tf (536) Tj 15 0 Td (-22-) Tj 20 0 Td (8741) Tj ET"), "536-22-8741");
        assert_eq!(shown("BT /F 10 Tf 1 0 0 1 50 700 Tm (4) Tj 1 0 0 1 55 700 Tm (1) Tj ET"), "41");
        assert_eq!(shown("BT /F 10 Tf [(a)-400(b)] TJ 0 -12 Td (c) Tj ET"), "a b\nc");
        assert_eq!(shown("BT /F 10 Tf 3 Tc (41) Tj 16 0 Td (11) Tj ET"), "4111");
    }

    #[test]
    fn a_picture_in_the_text_is_no_text() {
        assert_eq!(shown("BI /W 1 ID \x01(x) Tj EI\nBT (a) Tj ET"), "a");
    }
}
