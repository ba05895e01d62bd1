"""The phantom's reports: findings, then impression, assembled from phrases; says which words name which finding.

The choice of words depends on (seed, study) and on the kinds of findings, never on their sides, zones or grades: when two
findings exchange an attribute, the report keeps its bag of words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from prdlib.data.phantom_findings import KINDS, Finding
from prdlib.repro import generator

# Nouns of each class; the first is also used in negations and in the impression.
NOUNS: dict[str, tuple[str, ...]] = {
    "Pleural Effusion": ("pleural effusion", "effusion", "pleural fluid collection"),
    "Consolidation": ("consolidation", "airspace consolidation", "focal airspace opacity"),
    "Lung Lesion": ("nodule", "pulmonary nodule", "nodular lesion"),
    "Pneumothorax": ("pneumothorax",),
    "Cardiomegaly": ("cardiomegaly", "enlargement of the cardiac silhouette", "cardiac enlargement"),
    "Atelectasis": ("atelectasis", "discoid atelectasis", "subsegmental atelectasis"),
    "Edema": ("pulmonary edema", "interstitial edema", "vascular congestion"),
    "Reticular Opacity": ("reticular opacity", "interstitial reticular opacity", "reticulation"),
    "Support Devices": ("device",),
}
DEVICES = {
    "line": ("central venous line", "venous catheter", "central line"),
    "pacemaker": ("pacemaker", "cardiac pacemaker", "pacemaker generator"),
}
MARGIN_WORDS = {"sharp": ("sharp", "well defined", "smooth"), "indistinct": ("indistinct", "ill defined", "irregular")}

STATEMENTS = (
    "There is a {f}.",
    "A {f} is present.",
    "A {f} is seen.",
    "A {f} is noted.",
    "The radiograph shows a {f}.",
    "A {f} is again identified.",
    "Note is made of a {f}.",
)
MASS_STATEMENTS = ("There is {f}.", "{F} is present.", "{F} is seen.", "{F} is noted.", "The radiograph shows {f}.")
UNCERTAIN = ("There may be a {f}.", "A {f} is possible.", "A {f} cannot be excluded.", "Findings may represent a {f}.")
MASS_UNCERTAIN = ("There may be {f}.", "{F} is possible.", "{F} cannot be excluded.", "Findings may represent {f}.")
PAIRS = (
    "There is {a} and {b}.",
    "{A} and {b} are present.",
    "{A} is seen together with {b}.",
    "There is {a}, with {b}.",
)
NEGATIONS = (
    "No {f}.",
    "There is no {f}.",
    "No evidence of {f}.",
    "Negative for {f}.",
    "{F} is absent.",
    "Without {f}.",
)
DOUBLE_NEGATIONS = (
    "No {a} or {b}.",
    "There is no {a} or {b}.",
    "Neither {a} nor {b} is seen.",
    "No evidence of {a} or {b}.",
)
NORMAL_HEART = (
    "Heart size is normal.",
    "The cardiac silhouette is within normal limits.",
    "The heart is normal in size.",
    "Cardiac contours are unremarkable.",
)
NORMAL_LUNGS = ("The lungs are clear.", "Both lungs are well expanded and clear.", "Lungs are clear bilaterally.")
EXTRAS = (
    "The mediastinal contours are unremarkable.",
    "Osseous structures are intact.",
    "The visualized bony thorax is intact.",
    "The trachea is midline.",
    "Degenerative changes of the thoracic spine.",
    "Lung volumes are low.",
    "The aortic knob is calcified.",
    "Soft tissues are unremarkable.",
    "Surgical clips project over the upper abdomen.",
    "The bowel gas pattern is nonspecific.",
    "The patient is slightly rotated.",
    "Inspiratory effort is limited.",
    "Old healed rib fractures.",
)
NORMAL_IMPRESSIONS = (
    "No acute cardiopulmonary abnormality.",
    "Normal chest.",
    "No acute disease.",
    "Normal chest radiograph.",
    "No active disease.",
)
IMPRESSIONS = ("{list} as described.", "Findings of {list}.", "Abnormal chest with {list}.", "{list}.")
CHANGES = {
    "improved": ("{f} has improved since the prior study.", "Interval improvement of the {f}.", "{f} has decreased."),
    "stable": ("{f} is unchanged since the prior study.", "Stable {f}.", "No interval change of the {f}."),
    "worsened": ("{f} has worsened since the prior study.", "Interval progression of the {f}.", "{f} has increased."),
}
MASS_NOUNS = ("Cardiomegaly", "Atelectasis", "Edema", "Consolidation")  # no article


@dataclass(frozen=True)
class Report:
    """text; spans: for each finding (same order) the (start, end) of the words that state it with its attributes."""

    text: str
    spans: tuple[tuple[tuple[int, int], ...], ...]


class _Writer:
    """Collects sentences; remembers where the phrase of each finding stands."""

    def __init__(self, rng: np.random.Generator, findings: Sequence[Finding]) -> None:
        self.rng, self.findings = rng, findings
        self.text = ""
        self.spans: list[list[tuple[int, int]]] = [[] for _ in findings]

    def pick(self, options: Sequence[str]) -> str:
        return options[int(self.rng.integers(len(options)))]

    def add(self, template: str, **phrases: tuple[int | None, str]) -> None:
        """Fill a sentence; each phrase is (index of its finding or None, text); {F} capitalises {f}."""
        start = len(self.text) + bool(self.text)
        sentence, i = "", 0
        while i < len(template):
            if template[i] == "{":
                end = template.index("}", i)
                key = template[i + 1 : end]
                index, phrase = phrases[key.lower()] if key != "list" else phrases["list"]
                if key.isupper() or not sentence:
                    phrase = phrase[0].upper() + phrase[1:]
                if index is not None:
                    self.spans[index].append((start + len(sentence), start + len(sentence) + len(phrase)))
                sentence += phrase
                i = end + 1
            else:
                sentence += template[i]
                i += 1
        self.text += (" " if self.text else "") + sentence


def noun(finding: Finding, choice: int) -> str:
    """One of the finding's nouns."""
    nouns = DEVICES[finding.device] if finding.device else NOUNS[finding.name]
    return nouns[choice % len(nouns)]


def phrase(finding: Finding, choice: int, margin: int = -1) -> str:
    """'small left upper lobe nodule': grade, margin (when ``margin`` >= 0), side, zone, noun, in this order."""
    words = [finding.grade_word]
    if margin >= 0 and finding.margin:
        words.append(MARGIN_WORDS[finding.margin][margin % 3])
    words.append(finding.side)
    if finding.zone:
        words += [finding.zone, "zone"]
    return " ".join(w for w in (*words, noun(finding, choice)) if w)


def _with_article(finding: Finding, text: str) -> str:
    return text if finding.name in MASS_NOUNS else f"a {text}"


def write(seed: int, key: str, findings: Sequence[Finding], progression: str = "") -> Report:
    """The report of a study. ``progression`` ('improved', 'stable', 'worsened') adds a comparison with the prior study."""
    rng = generator(seed, key, "report")
    w = _Writer(rng, findings)
    chosen = [int(rng.integers(3)) for _ in findings]
    margins = [int(rng.integers(3)) if rng.random() < 0.6 else -1 for _ in findings]
    texts = [phrase(f, c, m) for f, c, m in zip(findings, chosen, margins, strict=True)]
    order = list(range(len(findings)))
    joined = len(order) >= 2 and all(f.certain for f in findings[:2]) and rng.random() < 0.45
    if joined:
        a, b = (int(i) for i in rng.permutation(2))
        w.add(w.pick(PAIRS), a=(a, _with_article(findings[a], texts[a])), b=(b, _with_article(findings[b], texts[b])))
        order = order[2:]
    for i in rng.permutation(order) if order else ():
        finding, mass = findings[int(i)], findings[int(i)].name in MASS_NOUNS
        if finding.certain:
            template = w.pick(MASS_STATEMENTS if mass else STATEMENTS)
        else:
            template = w.pick(MASS_UNCERTAIN if mass else UNCERTAIN)
        w.add(template, f=(int(i), texts[int(i)]))
    _negatives(w, findings)
    if progression and findings:
        named = int(rng.integers(len(findings)))
        w.add(w.pick(CHANGES[progression]), f=(None, noun(findings[named], chosen[named])))
    if not findings:
        w.add(w.pick(NORMAL_IMPRESSIONS))
    elif rng.random() < 0.75:
        names = [noun(f, 0) for f in findings]
        w.add(
            w.pick(IMPRESSIONS), list=(None, " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names))
        )
    return Report(w.text, tuple(tuple(s) for s in w.spans))


def _negatives(w: _Writer, findings: Sequence[Finding]) -> None:
    rng = w.rng
    present = {f.name for f in findings}
    absent = [name for name in KINDS if name not in present]
    normal_heart = "Cardiomegaly" in absent and rng.random() < 0.5
    if normal_heart:
        w.add(w.pick(NORMAL_HEART))
        absent.remove("Cardiomegaly")
    if not findings and rng.random() < 0.7:
        w.add(w.pick(NORMAL_LUNGS))
    number = int(rng.integers(2, 5)) if not findings else int(rng.integers(1, 4))
    names = [str(n) for n in rng.choice(absent, min(number, len(absent)), replace=False)]
    nouns = [NOUNS[n][0] if n != "Support Devices" else "support device" for n in names]
    while nouns:
        if len(nouns) >= 2:
            w.add(w.pick(DOUBLE_NEGATIONS), a=(None, nouns.pop()), b=(None, nouns.pop()))
        else:
            w.add(w.pick(NEGATIONS), f=(None, nouns.pop()))
    if rng.random() < 0.5 and len(findings) < 3:  # at most eight sentences
        w.add(w.pick(EXTRAS))
