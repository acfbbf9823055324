//! Which documents are looked at, by what they are and by the name that a viewer goes by.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Html,
    Xhtml,
    Svg,
    CompressedSvg,
    Xml,
    Markdown,
    Notebook,
    Css,
    Mail,
    Rtf,
    /// A zip: of Office, of OpenDocument, a book.
    Archive,
    FlatOdf,
    /// reStructuredText, AsciiDoc, Org, wikis.
    Markup,
}

impl Kind {
    /// A page that is code as much as a document, in a source tree.
    #[must_use]
    pub fn is_page(self) -> bool {
        matches!(self, Self::Html | Self::Xhtml | Self::Markdown | Self::Css | Self::Notebook)
    }
}

const BY_ENDING: &[(&[&str], Kind)] = &[
    (&["html", "htm", "shtml", "hta", "htc", "dhtml", "htmls"], Kind::Html),
    (&["xhtml", "xht", "xhtm"], Kind::Xhtml),
    (&["svg"], Kind::Svg),
    (&["svgz"], Kind::CompressedSvg),
    (&["xml", "xsl", "xslt", "rss", "atom", "opml", "mathml", "mml", "rdf", "xul"], Kind::Xml),
    (&["md", "markdown", "mdown", "mkd", "mkdn", "mdwn", "mdx", "qmd", "rmd"], Kind::Markdown),
    (&["ipynb"], Kind::Notebook),
    (&["css"], Kind::Css),
    (&["eml", "mht", "mhtml", "mbox"], Kind::Mail),
    (&["rtf"], Kind::Rtf),
    (&["fodt", "fods", "fodp", "fodg"], Kind::FlatOdf),
    (&["rst", "adoc", "asciidoc", "org", "textile", "wiki", "mediawiki"], Kind::Markup),
];
/// Beginnings by which browsers take a text for HTML, in lower case.
const HTML: &[&str] = &[
    "<!doctype html",
    "<html",
    "<head",
    "<script",
    "<iframe",
    "<h1",
    "<div",
    "<font",
    "<table",
    "<a ",
    "<style",
    "<title",
    "<body",
    "<br",
    "<p>",
    "<img",
];
/// Endings of sources that begin like a page and are rendered by a program of their own.
const TEMPLATES: &[&str] =
    &["vue", "svelte", "astro", "jsx", "tsx", "js", "ts", "py", "rs", "go", "rb", "java"];

/// The kind of a document by its name and its first kilobytes; `None` for what no viewer loads anything for.
#[must_use]
pub fn kind(name: &str, head: &[u8]) -> Option<Kind> {
    if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
        return Some(Kind::Archive);
    }
    let text = crate::plain::text(head);
    let start = text.trim_start_matches('\u{feff}').trim_start();
    if start.starts_with("{\\rt") {
        return Some(Kind::Rtf);
    }
    let name = name.rsplit('/').next().unwrap_or_default().to_lowercase();
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    if start.starts_with('<')
        && (start.contains("<office:document") || start.contains("opendocument:xmlns:office"))
    {
        return Some(Kind::FlatOdf);
    }
    let named = BY_ENDING.iter().find(|(endings, _)| endings.contains(&ending)).map(|(_, kind)| *kind);
    if named.is_some() || TEMPLATES.contains(&ending) {
        return named;
    }
    let lower: String = start.chars().take(64).flat_map(char::to_lowercase).collect();
    if lower.starts_with("<svg") {
        return Some(Kind::Svg);
    }
    if lower.starts_with("<?xml") {
        return Some(Kind::Xml);
    }
    HTML.iter().any(|begin| lower.starts_with(begin)).then_some(Kind::Html)
}
