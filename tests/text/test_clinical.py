"""Clinical edits: what they change, what they leave, where they do not apply."""

from collections import Counter

import numpy as np
import pytest

from prdlib.data import phantom
from prdlib.names import CLINICAL
from prdlib.names import FAMILIES as CONFIGURED
from prdlib.text import FAMILIES, PERTURBATIONS, perturb, perturb_reports, rebuild, tag
from prdlib.text.editing import article_of, grade_level, level
from prdlib.text.statements import rules

SIMPLE = "There is a small left pleural effusion. No pneumothorax or consolidation. Heart size is normal."


def edit(text, name, seed=0):
    copy = perturb(tag([text])[0], name, np.random.default_rng(seed))
    return None if copy.is_noop else copy.text


@pytest.mark.parametrize(
    ("name", "text", "copy"),
    [
        ("swap_laterality", "Small left effusion. Impression of left effusion.",
         "small right effusion impression of right effusion"),
        ("swap_zone", "Nodule in the left upper lobe.", "nodule in the left lower lobe"),
        ("swap_zone", "Right basilar opacity.", "right apical opacity"),
        ("swap_zone", "There is a lower lobe opacity.", "there is an upper lobe opacity"),
        ("change_severity", "Mild cardiomegaly. Stable mild cardiomegaly.", "severe cardiomegaly stable severe cardiomegaly"),
        ("change_severity", "There is a mild to moderate effusion.", "there is a moderate to severe effusion"),
        ("change_severity", "Mild to moderate cardiomegaly.", "moderate to severe cardiomegaly"),
        ("exchange_attributes", "A left nodule and a right effusion.", "a right nodule and a left effusion"),
        ("exchange_findings", "A small left nodule. A large right mass.", None),  # one may stand for the other
        ("exchange_findings", "A small left effusion. A large right pneumothorax.",
         "a small left pneumothorax a large right effusion"),
        ("exchange_findings", "There is a small left effusion. No pneumothorax is seen.",
         "there is a small left pneumothorax no effusion is seen"),
        ("exchange_findings", "There is bibasilar atelectasis. No pneumothorax.", None),  # would need an article
        ("exchange_findings", "A small left effusion. No pneumothorax. No acute disease.", None),
        ("negate_finding", "There is a small left effusion.", "there is no effusion"),
        ("negate_finding", "Mild cardiomegaly is seen. No edema.", "no cardiomegaly is seen no edema"),
        ("omit_finding", "Lungs are clear. Mild cardiomegaly. Impression of cardiomegaly.", "lungs are clear"),
        ("omit_finding", "Findings of edema and cardiomegaly.", "findings of cardiomegaly"),
        ("change_temporal", "Stable cardiomegaly.", "worsening cardiomegaly"),
        ("change_temporal", "The effusion has increased since the prior study.",
         "the effusion has decreased since the prior study"),
        ("change_temporal", "Increased interstitial opacities.", None),  # dense, not grown
        ("change_temporal", "Stable position of the catheter.", None),
        ("replace_finding", "A small left effusion. No pneumothorax.",
         "a small left area of consolidation no pneumothorax"),
        ("omit_finding", "Cardiomegaly is seen. Infiltrate.", "infiltrate"),
        ("paraphrase_voice", "There is a small left effusion.", "a small left effusion is seen"),
        ("paraphrase_voice", "No effusion is seen.", "there is no effusion"),
    ],
)  # fmt: skip
def test_by_hand(name, text, copy):
    options = {"omit_finding": {copy, "findings of edema"}} if "and cardiomegaly" in text else {}
    assert edit(text, name) in options.get(name, {copy})


def test_an_affirmed_finding_leaves_the_denial_and_gets_a_sentence_with_an_article():
    copies = {edit("No effusion, pneumothorax or edema.", "affirm_finding", seed) for seed in range(60)}
    assert "no effusion or pneumothorax there is mild edema" in copies
    assert "no pneumothorax or edema there is a small left effusion" in copies
    assert all(c.startswith("no ") and " there is " in c for c in copies)


def test_what_is_not_counted_is_affirmed_without_an_article():
    copies = {edit("No pleural fluid. Heart size is normal.", "affirm_finding", seed) for seed in range(20)}
    assert copies
    assert all(c.startswith("there is ") and " a " not in c.split("fluid")[0] for c in copies)


def test_a_measurement_changes_everywhere_and_keeps_its_form():
    text = "A 2.2 x 1.6 cm nodule in the right lung. 1. 2.2 cm nodule."
    assert {edit(text, "change_measurement", s) for s in range(40)} == {
        "a 4.4 x 3.2 cm nodule in the right lung 1 4.4 cm nodule",
        "a 1.1 x 0.8 cm nodule in the right lung 1 1.1 cm nodule",
        "a 4.4 x 1.6 cm nodule in the right lung 1 4.4 cm nodule",
        "a 1.1 x 1.6 cm nodule in the right lung 1 1.1 cm nodule",
    }  # the last two: drawn at the second mention


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("swap_laterality", "No left effusion."),
        ("swap_laterality", "Left effusion. Right nodule."),  # that is an exchange
        ("swap_laterality", "Left effusion. The right lung is clear."),  # would contradict
        ("swap_laterality", "Right middle lobe nodule."),
        ("swap_laterality", "Scarring of the lingula on the left."),
        ("swap_zone", "Clips in the upper abdomen. Nodule."),
        ("change_severity", "The heart is enlarged. Mild cardiomegaly."),
        ("exchange_attributes", "Left nodule. Left effusion."),
        ("exchange_attributes", "Left basal opacity. Left basilar atelectasis."),
        ("negate_finding", "Mild cardiomegaly. The heart is enlarged."),
        ("negate_finding", "Left basilar opacity. Left lower lobe consolidation."),
        ("affirm_finding", "No effusion. There is a small left effusion."),
        ("affirm_finding", "Lungs are clear without effusion."),
        ("omit_finding", "Interval removal of the catheter."),
        ("change_temporal", "Catheter is unchanged."),
        ("change_measurement", "Two views. T12 fracture of the 7th rib."),
        ("change_measurement", "An area of ² cm and 3² cm."),
        ("replace_finding", "Heart size is normal."),
        # Faults that readings of real reports found.
        (
            "omit_finding",
            "Lungs are expanded and clear airspace disease. Heart size is normal.",
        ),  # its 'of' was struck out
        ("omit_finding", "Pleural effusion or pneumothorax. Heart size is normal."),  # its 'no' was struck out
        ("omit_finding", "Healed rib fractures are stable. Healing rib callus."),
        ("negate_finding", "There is a pneumonia. Consider followup to document resolution."),
        ("swap_laterality", "Right middle and lower lobe opacity."),
        ("swap_zone", "Bibasilar infiltrates are present. Bibasilar edema."),
        ("swap_zone", "Dependent right basilar atelectasis."),
        ("change_severity", "Mild streaky opacities are present. Minimal basilar airspace disease."),
        ("change_severity", "There is minimal effusion."),
        ("change_temporal", "Stable cardiomegaly and mild interstitial opacities."),
        ("change_temporal", "Areas of scarring are unchanged in appearance."),
        ("change_measurement", "A small nodule. This measures 8 mm. 1. 8 mm left nodule."),
        ("affirm_finding", "No fracture. Bony structures are intact."),
        ("replace_finding", "Mild cardiomegaly. No effusion."),
        ("swap_zone", "Opacities of the right upper and lower lobes."),
        ("swap_laterality", "Left pneumothorax with rightward shift."),
        ("change_measurement", "A nodule of 8 mm, previously 6 mm."),
        ("change_measurement", "A nodule of less than 5 mm."),
        ("omit_finding", "Lungs are clear. A nodule is seen. Unchanged from prior."),
        ("exchange_attributes", "Minimal left cardiomegaly. This shows an increase. Marked atelectasis."),
        ("paraphrase_sentence_order", "There is a pneumonia. Consider followup to document resolution."),
        ("paraphrase_sentence_order", "There is a left catheter. The catheter reaches the vein."),
        ("paraphrase_sentence_order", "Lung nodule. Slight progression."),
        ("swap_zone", "Rounded opacity at the base of the mediastinum."),
        ("change_severity", "There are some minimal streaky opacities."),
        ("omit_finding", "Granuloma and scarring in the left lower lobe."),  # both, or the last, lie there
        ("omit_finding", "Atelectasis or infiltrate in the right base."),
        ("omit_finding", "Interstitial infiltrates. Mild edema is seen."),
        ("replace_finding", "There is mild interstitial edema. No pneumonia."),
        ("swap_zone", "Left basilar opacity may be breast tissue."),
        (
            "omit_finding",
            "Cardiomegaly is seen. The old infiltrate has resolved.",
        ),  # gone: spoken of in other words, maybe
        ("omit_finding", "Cardiomegaly is seen. The left heart border is obscured."),
        ("replace_finding", "There is a left effusion. The left heart border is obscured."),
        ("paraphrase_sentence_order", "There is a mass. The appearance is concerning."),
        ("paraphrase_sentence_order", "The heart is normal. There are several"),
        ("omit_finding", "Interstitial lung disease. Prominent markings."),
        ("omit_finding", "No effusion. Cardiomegaly is seen. Tortuous aorta."),  # would be read as denied
        ("omit_finding", "Lungs and chest. Cardiomegaly."),
        ("negate_finding", "Cardiomegaly. Tortuous aorta."),  # no cardiomegaly tortuous aorta
        ("negate_finding", "Granuloma redemonstrated."),
        ("affirm_finding", "No effusion. The patient has no acute cardiothoracic abnormality."),
        ("replace_finding", "There is opacification of the left lower lobe."),
        ("replace_finding", "Scattered granulomas. No active disease."),
        ("replace_finding", "Central vascular congestion."),
        ("replace_finding", "Granuloma are noted."),
        ("paraphrase_sentence_order", "Heart size is normal. Calcified aortic."),
        ("paraphrase_sentence_order", "A nodule is seen. The nodule is round."),
        ("paraphrase_voice", "No effusion. There is moderate cardiomegaly."),
        ("paraphrase_voice", "There is no evidence of effusion."),
        ("paraphrase_voice", "No effusion is seen. Mild hypoinflation."),  # would be denied, too
        ("paraphrase_voice", "Heart size is stable. There is moderate edema."),  # would be stable, too
        ("paraphrase_sentence_order", "There is a basal infiltrate. The heart is large. No infiltrates."),
        ("paraphrase_sentence_order", "Pacemaker on the left. No interval change in position. Lungs are clear."),
        ("paraphrase_sentence_order", "Lungs are clear. Right foot 1. No osseous infection."),
        ("paraphrase_synonyms", "A pericardial effusion. A small pleural effusion."),
        ("paraphrase_synonyms", "Enlarged cardiac silhouette."),
    ],
)
def test_where_it_would_say_the_same_or_contradict_it_does_not_apply(name, text):
    assert {edit(text, name, seed) for seed in range(10)} == {None}


def test_no_order_of_sentences_reads_a_finding_into_a_denial_before_it():
    text = "No effusion is seen. Tortuous aorta. Heart size is normal. No pneumothorax."
    copies = {edit(text, "paraphrase_sentence_order", seed) for seed in range(60)}
    assert len(copies) > 3
    assert not any("pneumothorax tortuous" in copy for copy in copies)


@pytest.mark.parametrize(
    ("article", "words"),
    [
        ("an", "effusion infiltrate upper ulcer unusual unidentified unimpressive 8 11 18 8.5 opacity"),
        ("a", "unilateral nodule useful one 1 10 large"),
    ],
)
def test_articles(article, words):
    assert {article_of(word) for word in words.split()} == {article}


@pytest.fixture(scope="module")
def phantoms():
    items = [phantom.study(11, i) for i in range(250)]
    return tag([item.report for item in items]), [item.study_id for item in items]


@pytest.mark.parametrize("name", [*FAMILIES["clinical"], *FAMILIES["paraphrase"]])
def test_copies_are_rebuilt_from_operations_and_say_what_they_keep(name, phantoms):
    tagged, ids = phantoms
    copies = [row[0] for row in perturb_reports(tagged, [name], 0, 0, ids)]
    applied = [(t, c) for t, c in zip(tagged, copies, strict=True) if not c.is_noop]
    if name != "change_measurement":  # phantoms measure nothing
        assert len(applied) >= 5
    for report, copy in applied:
        assert " ".join(rebuild(report.words, copy.operations)) == copy.text != report.normalised
        assert not [
            pair
            for pair in zip(copy.text.split(), copy.text.split()[1:], strict=False)
            if pair[0] == "a" and pair[1][0] in "aeio"
        ]
        if PERTURBATIONS[name].keeps_words:
            assert Counter(copy.text.split()) == Counter(report.words)


def test_exchanges_of_attributes_are_those_of_the_counterfactual_twin():
    """On phantoms whose findings differ in one attribute alone, the edit writes the twin's report."""
    hits = 0
    for i in range(400):
        study = phantom.study(5, i)
        twin = study.twin()
        if twin is None or len(study.findings) != 2:
            continue
        report, other = tag([study.report, twin.report])
        copies = {perturb(report, "exchange_attributes", np.random.default_rng(s)).text for s in range(6)}
        hits += other.normalised in copies
    assert hits >= 40


def test_the_same_copy_whatever_stands_beside_it(phantoms):
    tagged, ids = phantoms
    names = list(CLINICAL)
    table = perturb_reports(tagged[:60], names, 3, 1, ids[:60])
    assert perturb_reports(tagged[:60][::-1], names[::-1], 3, 1, ids[:60][::-1]) == [row[::-1] for row in table[::-1]]


def test_families_are_those_of_the_settings():
    assert {family: FAMILIES[family] for family in CONFIGURED} == CONFIGURED


def test_every_edit_says_what_it_changes_and_sides_of_a_simple_report_change():
    assert all(entry.changes for entry in PERTURBATIONS.values())
    assert "right pleural effusion" in edit(SIMPLE, "swap_laterality")


def test_every_grade_and_zone_of_the_rules_has_a_level():
    raw = rules().raw
    assert {grade_level(word) for table in raw["grades"].values() for word in table} == {"low", "middle", "high"}
    known = {word for words in raw["levels"].values() for word in words}
    assert {word for word in raw["zones"] if level(word) == "mid"} == set(raw["zones"]) - known == {"mid", "middle"}
