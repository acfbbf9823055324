"""Rust source as text for the checks beside this file: comments and literals blanked, blocks and functions found."""
import re

# A character literal, not a lifetime: 'a', '\n', '\u{1f600}'.
CHARACTER = re.compile(r"'(?:[^'\\\n]|\\(?:u\{[0-9a-fA-F_]+\}|x[0-9a-fA-F]{2}|.))'")
RAW_STRING = re.compile(r'[bc]?r(#*)"')
WORD = re.compile(r"\w+")
FUNCTION = re.compile(r"\bfn\s+(\w+)")


def blanked(text):
    """The same text with the content of comments and literals replaced by spaces: every line and column stays."""
    out, at = [], 0

    def skip(end):
        nonlocal at
        out.append(re.sub(r"[^\n]", " ", text[at:end]))
        at = end

    while at < len(text):
        character = text[at]
        if text.startswith("//", at):
            end = text.find("\n", at)
            skip(len(text) if end < 0 else end)
        elif text.startswith("/*", at):
            skip(end_of_comment(text, at))
        elif character in "bcr" and (raw := RAW_STRING.match(text, at)):
            end = text.find('"' + raw[1], raw.end())
            skip(len(text) if end < 0 else end + 1 + len(raw[1]))
        elif character == '"':
            skip(end_of_string(text, at))
        elif character == "'" and (literal := CHARACTER.match(text, at)):
            skip(literal.end())
        elif word := WORD.match(text, at):
            # A whole word: the r of `for` begins no raw string.
            out.append(word[0])
            at = word.end()
        else:
            out.append(character)
            at += 1
    return "".join(out)


def end_of_comment(text, at):
    depth = 0
    while at < len(text):
        if text.startswith("/*", at):
            depth, at = depth + 1, at + 2
        elif text.startswith("*/", at):
            depth, at = depth - 1, at + 2
            if depth == 0:
                return at
        else:
            at += 1
    return at


def end_of_string(text, at):
    at += 1
    while at < len(text) and text[at] != '"':
        at += 2 if text[at] == "\\" else 1
    return min(at + 1, len(text))


def end_of_block(text, at):
    """The place after the brace that closes the one at `at`, in blanked text."""
    depth = 0
    while at < len(text):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        at += 1
        if depth == 0:
            return at
    return at


def functions(text):
    """Name, first and last line of each function with a body, in blanked text."""
    for found in FUNCTION.finditer(text):
        # Its signature ends at the first brace or semicolon outside of brackets (`[u8; 4]`).
        at, depth = found.end(), 0
        while at < len(text) and (depth > 0 or text[at] not in "{;"):
            depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(text[at], 0)
            at += 1
        if at < len(text) and text[at] == "{":
            end = end_of_block(text, at)
            yield found[1], text.count("\n", 0, found.start()) + 1, text.count("\n", 0, end) + 1
