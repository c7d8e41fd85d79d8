"""Turn a model's answer into a caption: about the object only, without preamble, markdown, repetition or loose ends."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable

from stages.captioning.loops import without_loops
from stages.captioning.texts import clean

_TAGS = 20  # at most
_TAG_WORDS = 5
_READ = 20_000  # characters of an answer that are read

_THOUGHTS = re.compile(r"<think(?:ing)?>.*?</think(?:ing)?>|^.*?</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
_MARKUP = [
    (re.compile(r"```\w*\n?"), ""),
    (re.compile(r"!?\[([^\]]*)\]\([^)]*\)"), r"\1"),  # links
    (re.compile(r"^\s*(?:#+|>+|[-*•]|\d{1,2}[.)])\s+", re.MULTILINE), ""),  # headings, quotes, lists
    (re.compile(r"\*\*|__|`|~~"), ""),
    (re.compile(r"(?<!\w)[*_](?=\w)|(?<=\w|[.,;:!?])[*_](?!\w)"), ""),
]
_PICTURES = r"(?:images?|pictures?|photos?|photographs?|views?|render(?:ing)?s?|(?:3d )?models?|scenes?|objects?)"
_PREAMBLES = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"(?:sure|certainly|of course|okay|ok|absolutely|gladly|yes|alright)(?: thing)?\s*[,!.:]+\s*",
        r"(?:here(?:['’]s| is| are)|below is|this is|these are)\b[^.:\n]{0,90}:\s*",
        r"(?:the |a |an )?(?:short |brief |detailed |long |one-sentence )?"
        r"(?:caption|description|answer|tags|keywords|phrase|output|response)\s*:\s*",
        rf"(?:based on|judging by|judging from|from|in|across) (?:the |these |this |all |all the |both )?"
        rf"(?:provided |given |\w+ )?{_PICTURES}(?: provided| given| shown)?\s*,\s*"
        r"(?:it is |this is |we see |there is )?",
        rf"(?:the|this|these|those|all|each|your)(?: of the)? (?:\w+ ){{0,2}}?{_PICTURES} (?:shown |provided )?"
        r"(?:shows?|depicts?|displays?|features?|presents?|contains?|portrays?|illustrates?|captures?|represents?|"
        r"appears? to (?:be|show|depict)|seems? to (?:be|show|depict)|(?:is|are) (?:all )?(?:of|showing|depicting)|"
        r"(?:is|are)(?= an? | the ))\s+",
        r"(?:an?|the|several|multiple|six|many)? ?(?:\w+ )?"
        r"(?:images?|pictures?|photos?|photographs?|views?|render(?:ing)?s?|"
        r"(?:3d|digital) (?:models?|render(?:ing)?s?))"
        r" (?:of|showing|depicting) ",
        r"(?:this|it|that) (?:is|appears to be|seems to be|looks like)\s+(?=an? |the )",
    )
]
_BACKDROP = re.compile(
    r"[,;]?\s*\b(?:and )?(?:is |are )?(?:set |shown |displayed |placed |isolated |rendered |depicted |pictured |"
    r"presented |photographed |seen |floating |standing |sitting )?(?:up )?"
    r"(?:on|against|with|in front of|over|upon) (?:an? |the )?(?:[\w-]+,? (?:and )?){0,4}?(?:background|backdrop)s?\b",
    re.IGNORECASE,
)
_SHOWN = (
    r"(?:as )?(?:viewed|seen|shown|captured|rendered|depicted|pictured|photographed|displayed|presented|looked at) "
)
_SIDE = r"(?:above|below|behind|front|back|rear|sides?|left|right|top|bottom)"
_SEEN_FROM = re.compile(
    rf"[,;]?\s*\b(?P<is>(?:is |are )(?={_SHOWN}))?(?:"
    rf"(?:{_SHOWN})?(?:from|in) (?:an? |the |its )?(?:[\w-]+,? (?:and |or )?){{0,4}}?"
    r"(?:angles?|views?|perspectives?|viewpoints?|vantage points?)\b"
    rf"|{_SHOWN}from (?:(?:all|many|several|different|various|multiple) )?(?:slightly |directly |the )?"
    rf"(?:{_SIDE}|directions)\b(?: and (?:the )?{_SIDE}\b)?"
    r")(?(is)(?: and\b)?)",
    re.IGNORECASE,
)
_ABOUT_PICTURES = re.compile(
    r"\b(?:background|backdrop)s?\b|\b(?:viewpoint|camera angle|vantage point)s?\b"
    r"|\b(?:the|these|this|each|all|both|first|second|third|last|another|other|multiple|several|different|various|"
    r"provided|given) (?:provided |given |other )?(?:images?|pictures?|photos?|views?|renders?|renderings?|angles?|"
    r"perspectives?)\b(?! frame| of| tube)",
    re.IGNORECASE,
)
_BARE = re.compile(r"\W*(?:(?:it|they|this|the(?: \w+){1,2})\W*)?", re.IGNORECASE)
_REFUSAL = re.compile(
    r"^(?:i['’]?m sorry|i am sorry|sorry\b|i apologi[sz]e|unfortunately|as an ai|i (?:can(?:no|['’])t|cannot|am unable|"
    r"['’]?m unable|do(?:n['’]t| not) (?:see|have)))",
    re.IGNORECASE,
)
_EMPTY_TAGS = re.compile(
    r"(?:3d|image|images|picture|photo|object|objects|item|view|views|multiple views|render|rendering|3d model|"
    r"3d render(?:ing)?|3d object|model|none|n/a|unknown|tags?|.*\b(?:background|backdrop|viewpoint|perspective)\b.*)",
    re.IGNORECASE,
)
_END = re.compile(r"(?<=[.!?])[\"'”’)]*\s+(?![a-z])|(?<=[。！？।؟])\s*")  # not after `e.g.`
_WIDE_ENDS = ("。", "！", "？")  # without a space after them
_ENDS = (".", "!", "?", "।", "؟", *_WIDE_ENDS)
_QUOTES = "\"'“”‘’«»「」"


class Unusable(ValueError):
    """No part of an answer can be a caption. The text says why."""


def tidy(answer: str, kind: str, max_characters: int, cut: bool = False) -> str:
    """The caption in an answer, or Unusable. `cut`: the answer was stopped before its end."""
    text = _plain(answer)
    if not any(character.isalpha() for character in text):
        raise Unusable(f"no words: {text[:80]}" if text else "an empty answer")
    if _REFUSAL.match(text):
        raise Unusable(f"a refusal: {text[:80]}")
    shaped: Callable[[str, bool], str] = {"tags": _tags, "short": _short}.get(kind, _detailed)
    text = clean(shaped(text, cut), 10**9)
    if len(text) > max_characters:
        parts, gap = (text.split(", "), ", ") if kind == "tags" else (_sentences(text), " ")
        text = _bounded(parts, gap, max_characters) or clean(text, max_characters)
    letters = sum(unicodedata.category(character)[0] in "LM" for character in text)
    if 2 * letters < sum(not character.isspace() for character in text):
        raise Unusable(f"more symbols than letters: {text[:80]}")
    return text


def _plain(answer: str) -> str:
    """Remove thoughts, markdown, and quotes around the whole answer."""
    text = _THOUGHTS.sub("", answer[:_READ].replace("\ufffd", ""))
    if re.search(r"<think(?:ing)?>", text, re.IGNORECASE):
        raise Unusable("thoughts that do not end")
    for pattern, kept in _MARKUP:
        text = pattern.sub(kept, text)
    return _unquoted(text)


def _unquoted(text: str) -> str:
    """Remove quotes around the whole text."""
    text = text.strip()
    while len(text) > 1 and text[0] in _QUOTES and text.rstrip(".")[-1:] in _QUOTES and text[0] not in text[1:-2]:
        text = text.rstrip(".").strip(_QUOTES).strip()
    return text


def _detailed(text: str, cut: bool) -> str:
    text, looped = without_loops(_without_preamble(" ".join(text.split())))
    sentences = _sentences(text)
    if (cut or looped) and len(sentences) > 1 and not sentences[-1].endswith(_ENDS):
        sentences.pop()
    kept: dict[str, str] = {}
    for sentence in sentences:
        about = _about_the_object(_without_preamble(sentence))
        if about:
            kept.setdefault(about.casefold(), about[0].upper() + about[1:])
    return _usable(_joined(kept.values()), looped)


def _short(text: str, cut: bool) -> str:
    lines = [line for line in (_without_preamble(line.strip()) for line in text.splitlines()) if line]
    text, looped = without_loops(_unquoted(lines[0]) if lines else "")
    sentences = _sentences(text)
    if cut and len(sentences) == 1 and not text.endswith(_ENDS):
        sentences = [text.rpartition(" ")[0] or text]  # the last word may be half a word
    kept = (_about_the_object(_without_preamble(sentence)) for sentence in sentences)
    return _usable(next((sentence for sentence in kept if sentence), ""), looped)


def _joined(sentences: Iterable[str]) -> str:
    text = ""
    for sentence in sentences:
        text += sentence if not text or text.endswith(_WIDE_ENDS) else f" {sentence}"
    return text


def _usable(text: str, looped: bool) -> str:
    if looped and len(text.split()) < 3 and len(text) < 20:
        raise Unusable(f"only a loop: {text[:80]}")
    if not text:
        raise Unusable("only about the pictures")
    return text


def _tags(text: str, cut: bool) -> str:
    lines = text.splitlines()
    while len(lines) > 1 and re.fullmatch(r"[^,;]{0,120}:\s*", lines[0].strip() or ":"):
        del lines[0]  # `Here are the tags:`
    tags = re.split(r"[,;|•，、\n]", _without_preamble("\n".join(lines).strip("[]{}() \n")))
    if cut and len(tags) > 1:
        tags.pop()
    kept: dict[str, str] = {}
    for tag in tags:
        tag = re.sub(r"^\s*(?:[-*•#]+|\d{1,2}[.)])\s*|[.\s]+$", "", tag).strip(_QUOTES + "[]{} ")
        tag, looped = without_loops(" ".join(tag.split()))
        if tag and not looped and len(tag.split()) <= _TAG_WORDS and not _EMPTY_TAGS.fullmatch(tag):
            kept.setdefault(tag.casefold(), tag)
    if not kept:
        raise Unusable(f"no tags in: {text[:80]}")
    return ", ".join(list(kept.values())[:_TAGS])


def _without_preamble(text: str) -> str:
    before = None
    while before != text:
        before = text
        for pattern in _PREAMBLES:
            text = text[found.end() :].lstrip() if (found := pattern.match(text)) else text
    return text


def _about_the_object(sentence: str) -> str:
    """Remove remarks on background and viewpoint from a sentence; "" if nothing is left or it is about pictures."""
    ending = sentence[-1:] if sentence.endswith(_ENDS) else ""
    kept = sentence
    for pattern in (_BACKDROP, _SEEN_FROM):
        kept = pattern.sub("", kept)
    if kept == sentence:
        return "" if _ABOUT_PICTURES.search(kept) else kept
    kept = kept.strip(" ,;.") + ending
    # `It.`, `The chair.`: nothing but the view was described.
    return "" if _ABOUT_PICTURES.search(kept) or _BARE.fullmatch(kept) else kept


def _sentences(text: str) -> list[str]:
    return [sentence for sentence in _END.split(text) if sentence.strip()]


def _bounded(parts: list[str], gap: str, max_characters: int) -> str:
    """As many whole sentences or tags as fit."""
    within: list[str] = []
    for part in parts:
        if len(gap.join([*within, part])) > max_characters:
            break
        within.append(part)
    return gap.join(within) if gap == ", " else _joined(within)
