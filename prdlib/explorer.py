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
from prdlib.attribution_plots import pair_explanation
from prdlib.data.batches import EvaluationData
from prdlib.models import PRDModel
from prdlib.plots import DPI, small_png
from prdlib.text import PERTURBATIONS, perturb_reports
from prdlib.word_regions import METHOD as ATTENTION
from prdlib.word_regions import TARGET, word_maps

WHOLE, NONE = "whole report", "none"


@dataclass(frozen=True)
class Explorer:
    """Explanations of a split's studies by a model; ``findings`` of the data give the true boxes."""

    model: PRDModel
    data: EvaluationData

    def texts(self, row: int) -> dict[str, tuple[int, ...]]:
        """What can be asked about a study: its report, its findings' statements, its words, as positions of words."""
        tagged = self.data.tagged[row]
        asked = {WHOLE: tuple(range(len(tagged.words)))}
        for finding in self.data.findings[row]:
            spans = finding.get("spans") or []
            inside = tuple(
                i for i, (a, b) in enumerate(tagged.offsets) if any(a < end and b > start for start, end in spans)
            )
            if inside:
                asked[" ".join(tagged.words[i] for i in inside)] = inside
        return asked | {f"{word} ({i + 1})": (i,) for i, word in enumerate(tagged.words)}

    def figure(self, row: int = 0, text: str = WHOLE, method: str = "Occlusion", perturbation: str = NONE) -> Figure:
        """The explanation of one pair; with a perturbation, of the report, its copy and the lead of the one over the other.

        Perturbations are of the whole report: another text is then left aside. Raises KeyError for an unknown name.
        """
        data = self.data
        image, boxes = data.images[row], [f["box"] for f in data.findings[row] if f.get("box") is not None]
        if perturbation == NONE:
            places = self.texts(row)[text]
            if method == ATTENTION:
                return pair_explanation(image, {"above uniform": self._attention(row, places)}, boxes)
            asked = data.marked[row] if text == WHOLE else [data.words[row][i] for i in places]
            return pair_explanation(image, {"contribution": self._explain(row, asked, method)}, boxes)
        (copy,) = perturb_reports([data.tagged[row]], [perturbation], 0, 0, [data.study_ids[row]])[0]
        own = self._explain(row, data.marked[row], method)
        other = self._explain(row, copy.marked, method)
        return pair_explanation(
            image, {"original": own, "perturbed": other, "difference": lead(own, other, copy)}, boxes
        )

    def _explain(self, row: int, text: Sequence[str], method: str) -> Explanation:
        """As :func:`prdlib.attribution_methods.explain`; single pixels, which the eye cannot read, as means of 8 x 8 cells."""
        image = self.data.images[row]
        (found,) = explain(self.model, [image], [text], method)
        if method != "Integrated Gradients":
            return found
        return replace(found, map=by_cell(found.map[None], max(1, len(image) // 8))[0])

    def _attention(self, row: int, places: Sequence[int]) -> Explanation:
        """Of words inside their report: attention is shared between the words of a text, and one alone has all of it."""
        (found,) = word_maps(self.model, [self.data.images[row]], [self.data.marked[row]])
        return Explanation(found.maps[list(places)].mean(axis=0), (), None, ATTENTION, TARGET, None)

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
        kinds = [NONE, *PERTURBATIONS]
        kind = ipywidgets.Dropdown(options=kinds, value=asked.get("perturbation", NONE), description="perturbed")
        shown = ipywidgets.Image(value=start, format="png")

        def renew(change: dict[str, Any]) -> None:
            if change["owner"] is study:
                text.unobserve(renew, "value")
                text.options = list(self.texts(study.value))
                text.observe(renew, "value")
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
