"""Look at any study: choose a phrase, a method, a perturbation. Widgets in JupyterLab, the same figure by itself elsewhere."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

from IPython.display import Image, display
from matplotlib.figure import Figure

from prdlib.attribution import by_cell
from prdlib.attribution_methods import PAIR_METHODS, Explanation, explain, lead
from prdlib.attribution_plots import DIFFERENCE, pair_explanation
from prdlib.data.batches import EvaluationData
from prdlib.evaluation.grounding import Phrase
from prdlib.models import PRDModel
from prdlib.plots import DPI, small_png
from prdlib.text import PERTURBATIONS, Perturbed, perturb_reports
from prdlib.word_regions import METHOD as ATTENTION
from prdlib.word_regions import SEGMENTS, word_maps

WHOLE, NONE = "whole report", "none"
OPTIONS = {"Integrated Gradients": {"steps": 32}, "Shapley values": {"samples": 10}}


@dataclass(frozen=True)
class Explorer:
    """Explanations of a split's studies by a model; ``findings`` of the data give the true boxes; attention_temperature: tau1 of
    the local loss."""

    model: PRDModel
    data: EvaluationData
    attention_temperature: float = 4.0

    def texts(self, row: int) -> dict[str, tuple[int, ...]]:
        """What can be asked about a study: its report, its findings' statements (the first of each, as in tables), its words,
        as positions of words."""
        tagged = self.data.tagged[row]
        asked = {WHOLE: tuple(range(len(tagged.words)))}
        for finding in self.data.findings[row]:
            spans = finding.get("spans") or []
            inside = tuple(
                i for i, (a, b) in enumerate(tagged.offsets) if any(a < end and b > start for start, end in spans)
            )
            if inside:
                first = Phrase(row, finding["name"], inside, (0.0, 0.0, 0.0, 0.0)).first_mention
                asked[" ".join(tagged.words[i] for i in first)] = first
        return asked | {f"{word} ({i + 1})": (i,) for i, word in enumerate(tagged.words)}

    def copy(self, row: int, perturbation: str) -> Perturbed:
        """The perturbed copy of a study's report, always the same one."""
        return perturb_reports([self.data.tagged[row]], [perturbation], 0, 0, [self.data.study_ids[row]])[0][0]

    def perturbations(self, row: int) -> list[str]:
        """NONE and the perturbations that change a study's report."""
        return [NONE, *(name for name in PERTURBATIONS if not self.copy(row, name).is_noop)]

    def figure(self, row: int = 0, text: str = WHOLE, method: str = "Occlusion", perturbation: str = NONE) -> Figure:
        """The figure of :meth:`drawn` alone."""
        return self.drawn(row, text, method, perturbation)[0]

    def drawn(
        self, row: int = 0, text: str = WHOLE, method: str = "Occlusion", perturbation: str = NONE
    ) -> tuple[Figure, dict[str, Any]]:
        """The explanation of one pair, and what it shows (study, perturbation, method, target, delta, steps); with a perturbation
        of the report, its copy and the lead of the one over the other.

        Perturbations are of the whole report: another text is then left aside. One that does not apply to the report is said to,
        and the report stands alone. Raises KeyError for an unknown name.
        """
        data, shown = self.data, text if perturbation == NONE else perturbation
        if perturbation == NONE:
            found = self._alone(row, text, method)
        else:
            copy, own = self.copy(row, perturbation), self._explain(row, data.marked[row], method)
            if copy.is_noop:
                found, shown = {"original": own}, f"{perturbation} does not apply to this report"
            else:
                other = self._explain(row, copy.marked, method)
                found = {"original": own, "perturbed": other, DIFFERENCE: lead(own, other, copy)}
        boxes = [f["box"] for f in data.findings[row] if f.get("box") is not None]
        figure = pair_explanation(data.images[row], found, boxes, f"study {data.study_ids[row]}, {shown}")
        last = list(found.values())[-1]
        explained = {"method": last.method, "target": last.target, "delta": last.delta, **self._options(method)}
        return figure, {"study": data.study_ids[row], "perturbation": perturbation, "explained": explained}

    def _options(self, method: str) -> dict[str, Any]:
        return {"attention_temperature": self.attention_temperature} if method == ATTENTION else OPTIONS.get(method, {})

    def _alone(self, row: int, text: str, method: str) -> dict[str, Explanation]:
        places = self.texts(row)[text]
        if method == ATTENTION:
            found = self._attention(row, places)
            return {"cosine" if found.method == SEGMENTS else "above uniform": found}
        asked = self.data.marked[row] if text == WHOLE else [self.data.words[row][i] for i in places]
        return {"contribution": self._explain(row, asked, method)}

    def _explain(self, row: int, text: Sequence[str], method: str) -> Explanation:
        """As :func:`prdlib.attribution_methods.explain`; single pixels, which the eye cannot read, as means of 8 x 8 cells."""
        image = self.data.images[row]
        (found,) = explain(self.model, [image], [text], method, **self._options(method))
        if method != "Integrated Gradients":
            return found
        return replace(found, map=by_cell(found.map[None], max(1, len(image) // 8))[0])

    def _attention(self, row: int, places: Sequence[int]) -> Explanation:
        """Of words inside their report: attention is shared between the words of a text, and one alone has all of it."""
        asked = ([self.data.images[row]], [self.data.marked[row]], self.attention_temperature)
        (found,) = word_maps(self.model, *asked)
        return Explanation(found.maps[list(places)].mean(axis=0), (), None, found.method, found.target, None)

    def show(self, row: int = 0, widgets: bool | None = None, **asked: str) -> Image | None:
        """Widgets that begin with study ``row``, or, without widgets, the figure of ``asked`` (see :meth:`figure`).

        widgets: None asks :func:`can_show_widgets`. What is shown with widgets is also a picture, for a page that has none.
        """
        start = picture(self.figure(row, **asked))
        if not (can_show_widgets() if widgets is None else widgets):
            return Image(start)
        box = self.widgets(row, start, **asked)
        bundle = box._repr_mimebundle_() | {"image/png": base64.b64encode(start).decode()}
        display(bundle, raw=True)
        return None

    def widgets(self, row: int, start: bytes, **asked: str) -> Any:
        """A box of four choices and a picture, an ipywidgets.VBox, which begins with the PNG ``start``."""
        import ipywidgets

        studies = [(f"{study} ({len(self.data.words[i])} words)", i) for i, study in enumerate(self.data.study_ids)]
        study = ipywidgets.Dropdown(options=studies, value=row, description="study")
        text = ipywidgets.Dropdown(options=list(self.texts(row)), value=asked.get("text", WHOLE), description="text")
        method = ipywidgets.Dropdown(
            options=list(PAIR_METHODS), value=asked.get("method", "Occlusion"), description="method"
        )
        kinds, wanted = self.perturbations(row), asked.get("perturbation", NONE)
        kind = ipywidgets.Dropdown(
            options=kinds, value=wanted if wanted in kinds else NONE, description="perturbed"
        )  # those that apply to the study
        shown = ipywidgets.Image(value=start, format="png")

        def renew(change: dict[str, Any]) -> None:
            if change["owner"] is study:
                for choice, options in ((text, list(self.texts(study.value))), (kind, self.perturbations(study.value))):
                    choice.unobserve(renew, "value")
                    before = choice.value
                    choice.options = options
                    choice.value = before if before in options else options[0]
                    choice.observe(renew, "value")
            text.disabled = kind.value != NONE
            shown.value = picture(self.figure(study.value, text.value, method.value, kind.value))

        for choice in (study, text, method, kind):
            choice.observe(renew, "value")
        return ipywidgets.VBox([study, text, method, kind, shown])


def can_show_widgets() -> bool:
    """True in a kernel that a Jupyter server or VS Code started, where ipywidgets is installed: not in papermill or nbval."""
    return find_spec("ipywidgets") is not None and bool(
        {"JPY_SESSION_NAME", "VSCODE_PID", "VSCODE_CWD"} & set(os.environ)
    )


def picture(figure: Figure) -> bytes:
    """``figure`` as a small PNG, which a page loads fast."""
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=DPI, format="png")
    return small_png(drawn.getvalue())
