#!/usr/bin/env python3
"""Peers of content inspection on the same files and cases; run by the Python that has them:
  peers.py detect-secrets|presidio PII CORPUS SCRATCH


Prints a line of figures each: speed on code, CSV and JSON logs; alarms on a sample of ordinary files, bounded in time; and for
presidio (patterns alone, without a language model) precision and recall on labelled cases of personal data.
"""
import importlib.util, json, pathlib, random, sys, time

FILES, SECONDS, LARGEST = 400, 60, 100_000
# The findings and groups of `score`; names of presidio's that differ.
CORE = "CREDIT_CARD US_SSN EMAIL_ADDRESS PHONE_NUMBER IBAN_CODE IP_ADDRESS".split()
COMMON = {"EMAIL_ADDRESS", "IP_ADDRESS", "PHONE_NUMBER", "URL"}


def detect_secrets():
    from detect_secrets import SecretsCollection
    from detect_secrets.settings import default_settings

    def fired(path):
        found = SecretsCollection()
        with default_settings():
            found.scan_file(str(path))
        return {secret.type for _, secret in found}

    return fired, fired


def presidio():
    import logging, spacy, tldextract
    tldextract.tldextract.TLD_EXTRACTOR = tldextract.TLDExtract(suffix_list_urls=())
    logging.disable(logging.WARNING)
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
    from presidio_analyzer.nlp_engine import SpacyNlpEngine
    engine = SpacyNlpEngine(models=[{"lang_code": "en", "model_name": "blank"}])
    engine.nlp = {"en": spacy.blank("en")}
    engine.nlp["en"].max_length = 1 << 30
    registry = RecognizerRegistry()
    registry.load_predefined_recognizers(languages=["en"])
    analyzer = AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=["en"])

    def entities(text, score=0.0):
        return [(r.entity_type, text[r.start : r.end]) for r in analyzer.analyze(text, language="en") if r.score >= score]

    def alarm(path):
        found = entities(path.read_text(errors="replace"), 0.5)
        return {kind for kind, _ in found if kind not in COMMON} | ({"in bulk"} if len({v for k, v in found if k in COMMON}) >= 20 else set())

    return alarm, entities


def speed(fired, name):
    """On 64 KiB each of what `score --speed` makes of its own."""
    n = random.Random(1)
    code = b"".join(p.read_bytes() for p in sorted(pathlib.Path(json.__file__).parent.parent.glob("*.py"))[:40])
    csv = "".join(f"{n.randrange(10**7)},2026-{n.randrange(1, 13):02}-{n.randrange(1, 29):02}T10:00:00Z,north,SKU-{n.randrange(10**6):06},{n.randrange(500)},{n.randrange(10**5) / 100}\n" for _ in range(5000))
    log = "".join(json.dumps({"ts": 1.7e12 + n.randrange(10**9), "level": "info", "path": "/health", "trace_id": f"{n.getrandbits(128):032x}", "bytes": n.randrange(10**6)}) + "\n" for _ in range(2500))
    for kind, content in (("code", code), ("csv", csv.encode()), ("json", log.encode())):
        path = pathlib.Path(sys.argv[4]) / f"speed.{ {'code': 'py'}.get(kind, kind)}"
        path.write_bytes(content[: 1 << 16])
        begin = time.process_time()
        fired(path)
        print(f"{name + ': ' + kind:<46} {min(len(content), 1 << 16) / 1e6 / (time.process_time() - begin):10.2f} MB/s")


def ordinary(fired, name, corpus):
    for part in ("seen", "held"):
        files = sorted(p for p in (pathlib.Path(corpus) / "files" / part).rglob("*") if p.is_file() and p.stat().st_size <= LARGEST)
        begin, read, alarmed = time.monotonic(), 0, 0
        for path in random.Random(7).sample(files, min(FILES, len(files))):
            if time.monotonic() - begin > SECONDS:
                break
            read += 1
            alarmed += bool(fired(path))
        if read:
            print(f"{name + ': alarms in 1,000 of ' + part:<46} {1000 * alarmed / read:10.1f} ({alarmed} of a sample of {read})")


def labelled(entities, name, pii):
    tally = dict.fromkeys([(want, got) for want in (True, False) for got in (True, False)], 0)
    for case in map(json.loads, open(pii)):
        if case["scope"] == "category" and case["category"] in CORE:
            tally[case["expected"], case["category"] in {kind for kind, _ in entities(case["text"])}] += 1
    hit = tally[True, True]
    print(f"{name + ': CORE PERSONAL DATA':<46} {hit / max(1, hit + tally[False, True]):10.3f} {hit / max(1, hit + tally[True, False]):10.3f}")


if __name__ == "__main__":
    name, pii, corpus = sys.argv[1:4]
    alarm, entities = {"detect-secrets": detect_secrets, "presidio": presidio}[name]()
    if name == "presidio" and pathlib.Path(pii).is_file():
        labelled(entities, name, pii)
    speed(alarm, name)
    ordinary(alarm, name, corpus)
