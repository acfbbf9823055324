//! What a document does when somebody opens it: what it loads from elsewhere, with whatever the address carries, and what of it
//! runs. Read by parsers as viewers read it; what cannot be read whole is said.

mod css;
mod html;
mod kind;
mod lines;
mod mail;
mod markdown;
mod notebook;
mod odf;
mod office;
mod patterns;
mod reach;
mod reading;
mod rtf;
mod sink;
mod xml;

pub use self::kind::{Kind, kind};
pub use self::lines::{Lines, lines, may_have_lines};
pub use self::reach::{MOST, Reach};
pub(crate) use self::reading::sheets;

use self::sink::Sink;

/// What a document of this kind reaches for.
#[must_use]
pub fn look(kind: Kind, bytes: &[u8]) -> Reach {
    let mut sink = Sink::default();
    let part = bytes.get(..MOST).unwrap_or(bytes);
    sink.reach.unseen = part.len() < bytes.len();
    let text = || crate::plain::text(part);
    match kind {
        Kind::Html => html::scan(&text(), &mut sink),
        Kind::Xhtml => {
            xml::scan(&text(), true, &mut sink);
            html::scan(&text(), &mut sink);
        }
        Kind::Svg => xml::scan(&text(), true, &mut sink),
        Kind::CompressedSvg => xml::compressed(part, &mut sink),
        Kind::Xml => xml::scan(&text(), false, &mut sink),
        Kind::Markdown => markdown::scan(&text(), &mut sink),
        Kind::Notebook => notebook::scan(&text(), &mut sink),
        Kind::Css => sink.css(&text()),
        Kind::Mail => mail::scan(part, &mut sink),
        Kind::Rtf => rtf::scan(part, &mut sink),
        Kind::Archive => office::scan(part, &mut sink),
        Kind::FlatOdf => odf::scan(&text(), &mut sink),
        Kind::Markup => patterns::scan(part, &mut sink),
    }
    // What stands whole in an attribute is a page of its own.
    while let Some(page) = sink.next_page() {
        html::scan(&page, &mut sink);
    }
    sink.reach
}

#[cfg(test)]
mod tests;
