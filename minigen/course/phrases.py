"""Sentences with gaps: finds the template that a text was made from, and makes the translation's text of it.

A gap's text may be a sentence too, and is translated by the same table. Where the code joined sentences (a cause in
brackets, a list), they are looked for between the joints.
"""

from __future__ import annotations

import itertools
import re
import string
from collections.abc import Iterator, Mapping
from functools import cache

JOINTS = re.compile(r"(\): |: |; |, |\. |(?:^| )\(|\)| and |\n)")
CALL = re.compile(r"[\w.]+\(")
ADDED = re.compile(r"[:;,.] | \(")
MOST = 40  # pieces between joints that are tried; a longer text is no sentence
LONGEST = 4000
WAYS = 12  # in which one template is tried on one text


class Phrases:
    """A table from English templates to others, applied to finished texts."""

    def __init__(self, known: Mapping[str, str]) -> None:
        self.fixed: dict[str, str] = {}
        gapped = []
        for template, other in known.items():
            pieces = _pieces(template)
            if other and len(pieces) == 1:
                self.fixed[pieces[0]] = other.format()
            elif other:
                gapped.append((max(pieces, key=len), pieces, other))
        self.gapped = sorted(gapped, key=lambda one: (-sum(map(len, one[1])), len(one[1])))
        self.known: dict[str, tuple[str, int] | None] = {}
        self.told: dict[str, tuple[str, int]] = {}

    def __call__(self, text: str) -> str:
        """The translation; what is in no template stays as it is."""
        return self._say(text)[0]

    def _say(self, text: str) -> tuple[str, int]:
        """The translation, and how many letters of the text were found in templates."""
        bare = text.strip()
        if not bare or len(bare) > LONGEST or not any(map(str.isalpha, bare)):
            return text, 0
        if text not in self.told:
            at = text.index(bare)
            said, letters = self._best(bare)
            self.told[text] = text[:at] + said + text[at + len(bare) :], letters
        return self.told[text]

    def _best(self, text: str) -> tuple[str, int]:
        """One sentence or several, whichever explains more; several, if both explain as much.

        `conv2d(x: (3, 4), w: (2, 2)): the kernel ...` is a call, as the engine's errors begin with it, and a sentence.
        """
        whole, parts = self._whole(text), self._parts(text)
        best = whole if whole and whole[1] > parts[1] else parts
        if begin := _after_call(text):
            said, letters = self._say(text[begin:])
            best = (text[:begin] + said, letters) if letters >= best[1] else best
        return best

    def _whole(self, text: str) -> tuple[str, int] | None:
        """The translation of a text that is one sentence; None if it is none that is known.

        Of several templates the one that leaves least unexplained. `the cell {0}` explains `the cell h is wrong: ...`
        as well as `{0} is wrong: {1}` does: the one that begins with a gap is the sentence around the other.
        """
        if text in self.fixed:
            return self.fixed[text], len(text)
        if text not in self.known:
            likely = [(pieces, other) for longest, pieces, other in self.gapped if longest in text]
            found = [one for pieces, other in likely if (one := self._fill(pieces, other, text))]
            self.known[text] = max(found, key=lambda one: one[1:])[:2] if found else None
        return self.known[text]

    def _fill(self, pieces: list[str], other: str, text: str) -> tuple[str, int, bool] | None:
        """The translation of a text by one template: where it fits in several ways, the one that explains most."""
        ways = [gaps for gaps in itertools.islice(matches(pieces, text), WAYS) if gaps != [text]]
        if not ways:
            return None
        said = max(
            ([self._say(gap) for gap in gaps] for gaps in ways), key=lambda way: sum(one[1] for one in way)
        )
        letters = sum(map(len, pieces)) + sum(one[1] for one in said)
        try:
            return particles(other.format(*(one[0] for one in said))), letters, not pieces[0]
        except (IndexError, KeyError, ValueError):
            return None  # a translation with other gaps than the English: the check of the tables tells it

    def _parts(self, text: str) -> tuple[str, int]:
        """Sentences between joints: the longest run of pieces that is one, and the same to its left and right."""
        pieces = JOINTS.split(text)
        if not 1 < len(pieces) <= 2 * MOST:
            return text, 0
        for length in range(
            len(pieces) - len(pieces) % 2 - 1, 0, -2
        ):  # from text to text, not from joint to joint
            for first in range(0, len(pieces) - length + 1, 2):
                run = "".join(pieces[first : first + length])
                found = self._whole(run.strip()) if any(map(str.isalpha, run)) and _balanced(run) else None
                if found is not None:
                    last = first + length
                    left, right = pieces[: max(first - 1, 0)], pieces[last + 1 :]
                    before, after = self._say("".join(left)), self._say("".join(right))
                    said = [before[0], *pieces[len(left) : first], run.replace(run.strip(), found[0])]
                    said += [*pieces[last : last + 1], after[0]]
                    return "".join(said), before[1] + found[1] + after[1]
        return text, 0


def matches(pieces: list[str], text: str) -> Iterator[list[str]]:
    """What may stand between the pieces of a template in a text that was made from it, brackets kept together."""
    first, *inner, last = pieces
    if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
        return
    for gaps in _between(inner, text[len(first) : len(text) - len(last)], 1):
        if all(map(_balanced, gaps)) or not _balanced(text):
            yield gaps


def _between(pieces: list[str], text: str, together: int) -> Iterator[list[str]]:
    """The gaps of a text with the pieces in it; `together` gaps come before the next piece."""
    if not pieces:
        yield _split(text, together)
    elif not pieces[0]:
        yield from _between(pieces[1:], text, together + 1)  # two gaps with nothing between them
    else:
        at = text.find(pieces[0])
        while at >= 0:
            for after in _between(pieces[1:], text[at + len(pieces[0]) :], 1):
                yield [*_split(text[:at], together), *after]
            at = text.find(pieces[0], at + 1)


def _split(text: str, count: int) -> list[str]:
    """A text for so many gaps in a row: what is added to a value begins at a joint outside brackets."""
    if count == 1:
        return [text]
    depth = 0
    for at, letter in enumerate(text):
        if depth == 0 and ADDED.match(text, at):
            return [text[:at], *_split(text[at:], count - 1)]
        depth += (letter in "([") - (letter in ")]")
    return [text, *[""] * (count - 1)]


def _after_call(text: str) -> int:
    """Where the sentence begins after `name(operands): `; 0 where there is no such beginning."""
    call = CALL.match(text)
    end = text.find("): ", call.end()) if call else -1
    while end >= 0 and not _balanced(text[: end + 1]):
        end = text.find("): ", end + 1)
    return end + 3 if end >= 0 else 0


def _balanced(text: str) -> bool:
    depth = 0
    for letter in text:
        depth += (letter in "([{") - (letter in ")]}")  # [0, 1) closes as well
        if depth < 0:
            return False
    return depth == 0 and text.count("`") % 2 == 0


def _pieces(template: str) -> list[str]:
    """The literal texts before, between and after the gaps."""
    pieces = [""]
    for literal, field, _, _ in string.Formatter().parse(template):
        pieces[-1] += literal
        if field is not None:
            pieces.append("")
    return pieces


# Korean: a particle depends on the last sound of the word before it. A translator writes both forms, as one does where
# the word is not known, and the one that fits is chosen here; after a foreign word both stay.
PARTICLE = re.compile(r"(은\(는\)|이\(가\)|을\(를\)|과\(와\)|\(으\)로|\(이\)(?=[가-힣])|(?<=\S)이어야)")
ASIDE = re.compile(r"(?<=[가-힣])\([^()]*(?:\([^()]*\)[^()]*)*\)\Z")  # what follows 값(...) follows 값
OPEN, CLOSED, LIQUID = "open", "closed", "liquid"
SOUNDS = dict(zip("0123456789", "영일이삼사오육칠팔구", strict=True)) | dict(
    zip("LMNRlmnr%", "엘엠엔알엘엠엔알트", strict=True)
)


def particles(text: str) -> str:
    """`3은(는)` -> `3은`, `x은(는)` -> `x는`; `sigmoid은(는)` stays."""
    return PARTICLE.sub(lambda found: _particle(found[0], _sound(text[: found.start()])), text)


def _particle(both: str, sound: str) -> str:
    if not sound:
        return both
    if both == "(으)로":
        return "으로" if sound == CLOSED else "로"
    if both == "이어야":
        return "여야" if sound == OPEN else both
    if both == "(이)":
        return "" if sound == OPEN else "이"
    return both[2] if sound == OPEN else both[0]


@cache
def _sound(before: str) -> str:
    """How the word at the end of a text ends when it is read aloud; empty where one cannot know."""
    aside = ASIDE.search(before)
    before = (before[: aside.start()] if aside else before).rstrip("`'\")]}” ")
    before = before[:-3] + "파이" if before.endswith(".py") else before
    last = before[-1:]
    alone = not before[-2:-1].isalpha()
    if last.isascii() and last.isalpha():
        last = SOUNDS.get(last, "이") if alone else ""
    last = SOUNDS.get(last, last)
    if not "가" <= last <= "힣":
        return ""
    end = (ord(last) - ord("가")) % 28
    return OPEN if end == 0 else LIQUID if end == 8 else CLOSED
