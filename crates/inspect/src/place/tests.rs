use super::*;

#[test]
fn a_place_is_written_as_people_read_it() {
    let record = |unit, field: Option<(FieldKind, &str)>, character| FileSpot::Record {
        unit,
        number: 3,
        field: field.map(|(kind, name)| (kind, name.to_owned())),
        character,
    };
    let cell = |column: Option<&str>| FileSpot::Cell {
        sheet: "sheet1".into(),
        letters: "B".into(),
        row: 2,
        column: column.map(str::to_owned),
    };
    for (place, text) in [
        (Spot::Url.into(), "url"),
        (Spot::Query.into(), "query"),
        (Spot::Method.into(), "method"),
        (Spot::Header("x-trace".into()).into(), "header x-trace"),
        (Spot::Header("x-\u{202e}a".into()).into(), "header x-\\u{202e}a"),
        (Place::from(Spot::UnnamedHeader).then(&[Step::Base64]), "header … > base64"),
        (Spot::HeaderNames.into(), "header names"),
        (Spot::Body.into(), "body"),
        (Place::from(Spot::Body).then(&[Step::Base64]).then(&[Step::Gzip]), "body > base64 > gzip"),
        (Place::from(Spot::Body).then(&[Step::Zip, Step::Name]), "body > zip > name"),
        (Spot::FileName.into(), "file name"),
        (Spot::DnsLabel.into(), "host name"),
        (Spot::Message.into(), "message"),
        (Place::from(Spot::Request).then(&[Step::Joined]), "request > joined"),
        (Place::from(Spot::Requests).then(&[Step::Joined, Step::Hex]), "requests > joined > hex"),
        (Spot::Told("line 7".into()).into(), "line 7"),
        (FileSpot::Whole.into(), "the whole file"),
        (FileSpot::Line { line: 2, column: None }.into(), "line 2"),
        (FileSpot::Line { line: 2, column: Some(8) }.into(), "line 2, column 8"),
        (FileSpot::AfterLine(4).into(), "after line 4"),
        (record(Unit::Line, None, None).into(), "line 3"),
        (record(Unit::Value, Some((FieldKind::Key, "iban")), None).into(), "value 3, key iban"),
        (
            record(Unit::Row, Some((FieldKind::Column, "s\u{7}n")), Some(5)).into(),
            "row 3, column s\\u{7}n, character 5",
        ),
        (cell(None).into(), "sheet1, cell B2"),
        (cell(Some("ssn")).into(), "sheet1, cell B2, column ssn"),
        (FileSpot::DocumentPart("docProps/core.xml".into()).into(), "docProps/core.xml"),
        (FileSpot::Touching.into(), "where it touches another value"),
        (FileSpot::PackedNumbers.into(), "packed numbers"),
        (FileSpot::Written(Step::Base32).into(), "in base32"),
    ] as [(Place, &str); 29]
    {
        assert_eq!(place.to_string(), text);
        let json = serde_json::to_string(&place).unwrap();
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        let told: Place = serde_json::from_str(&json).unwrap();
        assert_eq!(told, Spot::Told(text.to_owned()).into());
        assert_eq!(serde_json::to_string(&told).unwrap(), json);
    }
}

#[test]
fn every_step_is_written_as_before() {
    use Step::*;
    let steps = [
        Base32,
        Base64,
        Brotli,
        ByteList,
        Bzip2,
        Deflate,
        Ebcdic,
        Entities,
        Escapes,
        Folded,
        GitPack,
        Gzip,
        Hex,
        Invisible,
        Joined,
        Lzma,
        Name,
        Packed,
        Percent,
        QuotedPrintable,
        Reversed,
        Rot13,
        Turned,
        UpperCase,
        Utf16,
        Utf32,
        Words,
        Xz,
        Zip,
        Zlib,
        Zstd,
    ];
    assert_eq!(
        Place::from(Spot::Body).then(&steps).to_string(),
        "body > base32 > base64 > brotli > byte list > bzip2 > deflate > ebcdic > entities > escapes > folded > git pack > gzip > hex > \
         invisible > joined > lzma > name > packed > percent > quoted-printable > reversed > rot13 > turned > upper case > \
         utf-16 > utf-32 > words > xz > zip > zlib > zstd"
    );
}

#[test]
fn what_a_name_says_is_no_step() {
    for name in ["joined", "joined > x", "x > joined > base64", "names", "body"] {
        for spot in [Spot::Header(name.into()), Spot::Told(format!("requests > {name}"))] {
            let place = Place::from(spot);
            assert!(!place.is_joined() && !place.is_joined_and_decoded(), "{place}");
        }
    }
    let joined = Place::from(Spot::Requests).then(&[Step::Joined]);
    assert!(joined.is_joined() && !joined.is_joined_and_decoded());
    assert!(joined.then(&[Step::Base64]).is_joined_and_decoded());
    assert!(!Place::from(Spot::Body).then(&[Step::Base64]).is_joined());
    // Decoded first, and put together then.
    assert!(!Place::from(Spot::Body).then(&[Step::Base64, Step::Joined]).is_joined_and_decoded());
}
