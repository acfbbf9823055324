"""Whether the pivot sheet that LibreOffice recomputed has the totals of the report."""
import csv, re, zipfile
import xml.etree.ElementTree as xml

N = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


def check(workbook, report):
    book = zipfile.ZipFile(workbook)
    texts = ["".join(t.text or "" for t in si.iter(N + "t")) for si in xml.fromstring(book.read("xl/sharedStrings.xml"))]
    cells = {}
    for c in xml.fromstring(book.read("xl/worksheets/sheet2.xml")).iter(N + "c"):
        v = c.find(N + "v")
        if v is not None:
            column, row = re.match(r"([A-Z]+)(\d+)", c.get("r")).groups()
            cells[column, int(row)] = texts[int(v.text)] if c.get("t") == "s" else float(v.text)
    header = {text: column for (column, row), text in cells.items() if row == 1}
    expected = {}
    with open(report) as f:
        for line in csv.DictReader(f):
            expected[line["region"]] = expected.get(line["region"], 0) + float(line["amount"])
    assert len(expected) > 2
    for (column, row), text in cells.items():
        if column == "A" and text in expected:
            total = cells[header["Total"], row]
            assert abs(total - expected.pop(text)) < 0.01, (text, total)
    assert not expected, expected
