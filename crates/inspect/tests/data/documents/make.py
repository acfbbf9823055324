#!/usr/bin/env python3
"""Make the documents beside this file with the programs that ordinary people use.

Needs LibreOffice and, from PyPI: reportlab python-docx python-pptx xlwt py7zr pypdf pillow cryptography odfpy.
Every document holds the three planted values; the encrypted ones hold them out of reach.
"""
import io, subprocess, sys, tempfile, zipfile
from pathlib import Path

OUT = Path(__file__).parent
SSN, CARD = "536-22-8741", "4111 1111 1111 1111"
TOKEN = "ghp_" + "Zk4vQ2mX9bT7cR1nW5yL8dS3fH6jG0pA2eU4"[:36]
LINES = ["Dear Ann,", f"your social security number is {SSN} and your", f"card is {CARD}, your token {TOKEN}.", "Bob"]
TEXT = "\n".join(LINES) + "\n"


def write(name, data):
    (OUT / name).write_bytes(data)


def office(source, kind, to):
    with tempfile.TemporaryDirectory() as d:
        subprocess.run(["soffice", "--headless", f"-env:UserInstallation=file://{d}/profile", "--convert-to", kind,
                        "--outdir", d, str(source)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        made = next(p for p in Path(d).iterdir() if p.is_file())
        write(to, made.read_bytes())


def docx(path):
    import docx
    d = docx.Document()
    for line in LINES:
        p = d.add_paragraph()
        # As an editor cuts them: within a word, with a format of its own.
        for i in range(0, len(line), 7):
            p.add_run(line[i:i + 7]).bold = i % 2 == 0
    d.sections[0].header.paragraphs[0].text = "Header: nothing"
    table = d.add_table(rows=2, cols=2)
    table.cell(0, 0).text, table.cell(0, 1).text = "Name", "Note"
    d.save(path)


def pptx(path):
    import pptx
    p = pptx.Presentation()
    s = p.slides.add_slide(p.slide_layouts[1])
    s.shapes.title.text = "Letter"
    s.placeholders[1].text = LINES[1]
    s.notes_slide.notes_text_frame.text = LINES[2]
    p.save(path)


def odt():
    from odf.opendocument import OpenDocumentText
    from odf.text import P, Span, S, Tab, Note, NoteBody, NoteCitation
    d = OpenDocumentText()
    for line in LINES:
        p = P()
        for i in range(0, len(line), 7):
            p.addElement(Span(text=line[i:i + 7]))
        d.text.addElement(p)
    d.save(OUT / "letter.odt")


def sheet(path):
    import xlwt
    w = xlwt.Workbook()
    s = w.add_sheet("people")
    for c, name in enumerate(["name", "ssn", "card number", "note"]):
        s.write(0, c, name)
    s.write(1, 0, "Ann"); s.write(1, 1, 536228741); s.write(1, 2, 4111111111111111); s.write(1, 3, TOKEN)
    for r in range(2, 400):
        s.write(r, 0, f"Person {r} " + "x" * 40); s.write(r, 3, f"note {r}")
    s.write(400, 3, f"at the end: {SSN} and {CARD}")
    w.save(path)


def pdf_reportlab():
    from reportlab.pdfgen import canvas
    from reportlab.lib.pagesizes import A4
    def page(c):
        t = c.beginText(60, 760)
        for line in LINES:
            t.textLine(line)
        c.drawText(t)
        c.showPage()
    plain = io.BytesIO(); c = canvas.Canvas(plain, pagesize=A4, pageCompression=0); page(c); c.save()
    write("plain.pdf", plain.getvalue())
    packed = io.BytesIO(); c = canvas.Canvas(packed, pagesize=A4, pageCompression=1); page(c); c.save()
    write("ascii85.pdf", packed.getvalue())
    # Character by character, and a form field.
    drawn = io.BytesIO(); c = canvas.Canvas(drawn, pagesize=A4); c.setFont("Helvetica", 11)
    for n, line in enumerate(LINES):
        x = 60
        for ch in line:
            c.drawString(x, 700 - 14 * n, ch); x += c.stringWidth(ch, "Helvetica", 11)
    c.showPage(); c.save()
    write("drawn.pdf", drawn.getvalue())
    form = io.BytesIO(); c = canvas.Canvas(form, pagesize=A4)
    c.acroForm.textfield(name="ssn", value=SSN, x=60, y=600); c.acroForm.textfield(name="card", value=CARD, x=60, y=560)
    c.acroForm.textfield(name="note", value=TOKEN, x=60, y=520, maxlen=100); c.showPage(); c.save()
    write("form.pdf", form.getvalue())


def pdf_pypdf():
    from pypdf import PdfReader, PdfWriter
    src = PdfReader(OUT / "libreoffice.pdf")
    w = PdfWriter(clone_from=src)
    w.compress_identical_objects()
    for page in w.pages:
        page.compress_content_streams()
    w.encrypt("", "owner", algorithm="AES-256"); w.write(OUT / "owner-aes256.pdf")
    for name, algorithm in [("owner-rc4.pdf", "RC4-128"), ("owner-aes128.pdf", "AES-128")]:
        w = PdfWriter(clone_from=src); w.encrypt("", "owner", algorithm=algorithm); w.write(OUT / name)
    w = PdfWriter(clone_from=src); w.encrypt("user", "owner", algorithm="AES-256"); w.write(OUT / "encrypted.pdf")
    w = PdfWriter(); w.add_blank_page(200, 200); w.add_attachment("people.csv", f"name,ssn,card,token\nAnn,{SSN},{CARD},{TOKEN}\n".encode())
    w.add_metadata({"/Title": "attached"}); w.write(OUT / "attachment.pdf")


def archives():
    import py7zr
    body = TEXT.encode()
    with tempfile.TemporaryDirectory() as d:
        p = Path(d) / "letter.txt"; p.write_bytes(body)
        for name, filters in [("letter.7z", None), ("bzip2.7z", [{"id": py7zr.FILTER_BZIP2}])]:
            with py7zr.SevenZipFile(OUT / name, "w", filters=filters) as z:
                z.write(p, "letter.txt")
        with py7zr.SevenZipFile(OUT / "encrypted.7z", "w", password="secret") as z:
            z.write(p, "letter.txt")
        with py7zr.SevenZipFile(OUT / "encrypted-names.7z", "w", password="secret", header_encryption=True) as z:
            z.write(p, "letter.txt")
    import lzma
    write("letter.txt.lzma", lzma.compress(body, format=lzma.FORMAT_ALONE))
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("letter.txt", TEXT)
    # A program of a few bytes that nobody runs.
    module = b"\x7fELF\x02\x01\x01" + bytes(4089)
    write("selfextracting.bin", module + zipped.getvalue())
    write("selfextracting7z.bin", module + (OUT / "letter.7z").read_bytes())


def images():
    from PIL import Image, PngImagePlugin
    im = Image.new("RGB", (8, 8), "white")
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", TEXT, zip=True)
    b = io.BytesIO(); im.save(b, "PNG", pnginfo=info); write("compressed-text.png", b.getvalue())
    info = PngImagePlugin.PngInfo(); info.add_itxt("Comment", TEXT, zip=True)
    b = io.BytesIO(); im.save(b, "PNG", pnginfo=info); write("international-text.png", b.getvalue())
    exif = Image.Exif(); exif[0x9c9c] = TEXT.encode("utf-16-le")
    b = io.BytesIO(); im.save(b, "JPEG", exif=exif); write("exif-comment.jpg", b.getvalue())
    exif = Image.Exif(); exif[0x010e] = TEXT
    b = io.BytesIO(); im.save(b, "JPEG", exif=exif); write("exif-description.jpg", b.getvalue())


def main():
    docx(OUT / "letter.docx"); pptx(OUT / "letter.pptx"); sheet(OUT / "sheet.xls")
    office(OUT / "sheet.xls", "xls:MS Excel 97", "sheet-97.xls")
    office(OUT / "sheet.xls", "ods", "sheet.ods")
    office(OUT / "sheet.xls", "pdf:calc_pdf_Export", "libreoffice.pdf")
    odt(); pdf_reportlab(); pdf_pypdf(); archives(); images()


if __name__ == "__main__":
    sys.exit(main())
