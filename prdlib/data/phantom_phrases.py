"""The phantom's vocabulary: nouns, attributes, sentence frames. {f}, {a}, {b}, {c} are phrases; {n} is a noun alone."""

from __future__ import annotations

# (noun, takes an article). The first noun of a class is its plain name.
NOUNS: dict[str, tuple[tuple[str, bool], ...]] = {
    "Pleural Effusion": (
        ("pleural effusion", True), ("effusion", True), ("pleural fluid collection", True), ("pleural fluid", False)),
    "Consolidation": (
        ("consolidation", False), ("airspace consolidation", False), ("focal airspace opacity", True),
        ("alveolar infiltrate", True)),
    "Lung Lesion": (("nodule", True), ("pulmonary nodule", True), ("nodular lesion", True), ("nodular density", True)),
    "Pneumothorax": (("pneumothorax", True),),
    "Cardiomegaly": (
        ("cardiomegaly", False), ("enlargement of the cardiac silhouette", False), ("cardiac enlargement", False),
        ("enlargement of the heart", False)),
    "Atelectasis": (
        ("atelectasis", False), ("discoid atelectasis", False), ("subsegmental atelectasis", False),
        ("linear atelectasis", False)),
    "Edema": (
        ("pulmonary edema", False), ("interstitial edema", False), ("vascular congestion", False),
        ("perihilar edema", False)),
    "Reticular Opacity": (
        ("reticular opacity", True), ("interstitial reticular opacity", True), ("reticulation", False),
        ("reticular thickening", False)),
    "Support Devices": (("support device", True),),
}  # fmt: skip
DEVICES = {
    "line": (("central venous line", True), ("venous catheter", True), ("central line", True)),
    "pacemaker": (("pacemaker", True), ("cardiac pacemaker", True), ("chest wall pacemaker", True)),
}
DENIED_NOUNS: dict[str, tuple[str, ...]] = {
    "Pleural Effusion": ("pleural effusion", "effusion", "pleural fluid"),
    "Consolidation": ("consolidation", "focal consolidation", "airspace opacity"),
    "Lung Lesion": ("nodule", "pulmonary nodule", "suspicious nodule"),
    "Pneumothorax": ("pneumothorax",),
    "Cardiomegaly": ("cardiomegaly", "cardiac enlargement"),
    "Atelectasis": ("atelectasis",),
    "Edema": ("pulmonary edema", "edema", "vascular congestion"),
    "Reticular Opacity": ("reticular opacity", "reticulation"),
    "Support Devices": ("support device", "indwelling device"),
}
# One column is chosen per report, for all its findings: an exchanged attribute then keeps its word. All take "a".
GRADES = {
    "small": ("small", "minor"), "moderate": ("moderate", "moderate"), "large": ("large", "sizable"),
    "mild": ("mild", "slight"), "severe": ("severe", "marked"), "": ("", ""),
}  # fmt: skip
REGIONS = ("zone", "lung")
MARGINS = {
    ("Lung Lesion", "sharp"): ("sharp", "smooth", "well defined", "circumscribed"),
    ("Lung Lesion", "indistinct"): ("indistinct", "spiculated", "irregular", "ill defined"),
    ("Consolidation", "sharp"): ("sharp", "well defined", "sharply marginated"),
    ("Consolidation", "indistinct"): ("indistinct", "ill defined", "patchy"),
}

STATEMENTS = (
    "There is {f}.", "{f} is present.", "{f} is seen.", "{f} is noted.", "{f} is identified.", "{f} is evident.",
    "The radiograph shows {f}.", "The film demonstrates {f}.", "Note is made of {f}.",
)  # fmt: skip
REPEATED = ("{f} is again seen.", "Again noted is {f}.", "There is again {f}.", "{f} is redemonstrated.")
UNCERTAIN = (
    "There may be {f}.", "{f} is possible.", "{f} cannot be excluded.", "Findings may represent {f}.",
    "{f} is suspected.", "The appearance is suspicious for {f}.",
)  # fmt: skip
PAIRS = (
    "There is {a} and {b}.", "{a} and {b} are present.", "{a} is seen together with {b}.", "There is {a}, with {b}.",
    "In addition to {a}, there is {b}.", "{a} is accompanied by {b}.", "There is {a}, and {b} is also noted.",
)  # fmt: skip
NEGATIONS = (
    ("No {a}.", "There is no {a}.", "No evidence of {a}.", "Negative for {a}.", "No {a} is seen.", "No {a} is identified.",
     "{a} is not seen.", "No definite {a}."),
    ("No {a} or {b}.", "There is no {a} or {b}.", "Neither {a} nor {b} is seen.", "No evidence of {a} or {b}.",
     "No {a} or {b} is identified."),
    ("No {a}, {b}, or {c}.", "There is no {a}, {b}, or {c}.", "No evidence of {a}, {b}, or {c}.",
     "No visible {a}, {b}, or {c}."),
)  # fmt: skip
NORMAL_HEART = (
    "Heart size is normal.", "The cardiac silhouette is within normal limits.", "The heart is normal in size.",
    "Cardiac contours are unremarkable.", "The heart is not enlarged.",
)  # fmt: skip
NORMAL_LUNGS = ("The lungs are clear.", "Both lungs are well expanded and clear.", "Lungs are clear bilaterally.",
                "The lungs are well aerated.")  # fmt: skip
OPENINGS = (
    "Single frontal radiograph of the chest.", "Frontal view of the chest.", "Portable chest radiograph.",
    "One upright view of the chest was obtained.", "Frontal chest film without prior examinations.",
)  # fmt: skip
COMPARISONS = (
    "Comparison is made with the prior radiograph.", "A previous examination is available for comparison.",
    "Follow up radiograph of the chest.", "The prior study was reviewed.",
)  # fmt: skip
EXTRAS = (
    "The mediastinal contours are unremarkable.", "Osseous structures are intact.", "The bony thorax is intact.",
    "The trachea is midline.", "Degenerative changes of the thoracic spine.", "Lung volumes are low.",
    "The aorta is tortuous.", "Soft tissues are unremarkable.", "Surgical clips project over the upper abdomen.",
    "The bowel gas pattern is nonspecific.", "The patient is slightly rotated.", "Inspiratory effort is limited.",
    "Old healed rib fractures.", "The hila are symmetric.", "Clavicles and scapulae are intact.",
    "No acute bony abnormality.", "Atherosclerotic calcification of the aorta.", "The diaphragm is well visualized.",
    "Gas is present within the stomach.", "Mild scoliosis of the spine.",
)  # fmt: skip
NORMAL_IMPRESSIONS = (
    "No acute cardiopulmonary abnormality.", "Normal chest.", "No acute disease.", "Normal chest radiograph.",
    "No active disease.", "Unremarkable examination.", "No acute cardiopulmonary process.",
)  # fmt: skip
IMPRESSIONS = (
    "{list}.", "{list} as described.", "Findings of {list}.", "Abnormal chest with {list}.", "Impression of {list}.",
    "In summary, {list}.",
)  # fmt: skip
CHANGES = {
    "improved": ("The {n} has improved since the prior study.", "Interval improvement of the {n}.",
                 "The {n} has decreased in the interval.", "The {n} is less prominent than before."),
    "stable": ("The {n} is unchanged since the prior study.", "Stable {n}.", "No interval change of the {n}.",
               "The {n} is similar to the prior examination."),
    "worsened": ("The {n} has worsened since the prior study.", "Interval progression of the {n}.",
                 "The {n} has increased in the interval.", "The {n} is more prominent than before."),
}  # fmt: skip
