"""Clinical edits: copies that stay grammatical and say something else about the patient. Words and rules: clinical.yaml.

An edit changes every mention of the finding that it touches, so that findings and impression stay in accord; where it cannot,
or where the meaning would stay the same, it does not apply (None), and the test counts it. Negated statements keep their
sides, zones and grades: 'no left effusion' and 'no right effusion' are both true of the same film.

``error`` is the category of ReXErr (Rao et al., PSB 2025) that an edit stands for. Categories of ReXErr without an edit here:
Add Medical Device, Change Name of Device, Change Position of Device (reports seldom say enough of a device to change it by
rule), and those of language (Add Repetitions, Add Contradictions, Change to Homophone, Add Typo), which leave what is said of
the patient as it is.
"""

from __future__ import annotations

from prdlib.text import attribute_edits as attributes
from prdlib.text import exchange_edits as exchanges
from prdlib.text import finding_edits as findings
from prdlib.text import progress_edits as progress
from prdlib.text.perturbation import Edit, Perturbation


def _entry(function: Edit, changes: str, error: str = "", keeps_words: bool = False) -> Perturbation:
    return Perturbation(function.__name__, "clinical", changes, False, function, keeps_words, error)


ENTRIES = (
    _entry(attributes.swap_laterality, "findings change their side", "Change Location"),
    _entry(attributes.swap_zone, "findings change their zone of the lung", "Change Location"),
    _entry(attributes.change_severity, "a finding changes its grade", "Change Severity"),
    _entry(exchanges.exchange_attributes, "two findings exchange a side, zone or grade", "Change Location", True),
    _entry(exchanges.exchange_findings, "two findings exchange their nouns", "Change Location", True),
    _entry(findings.negate_finding, "a finding that is there is denied", "False Negation"),
    _entry(findings.affirm_finding, "a finding that is denied is there", "False Prediction"),
    _entry(findings.replace_finding, "a finding becomes one that resembles it", "False Prediction"),
    _entry(findings.omit_finding, "a finding is not mentioned", "False Negation"),
    _entry(progress.change_temporal, "what grew has shrunk, what was stable has grown"),
    _entry(progress.change_measurement, "a measurement is another", "Change Measurement"),
)
