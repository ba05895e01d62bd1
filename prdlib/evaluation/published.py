"""The paper's numbers beside ours: what is published, what our tables say of the same question, and on which data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

PUBLISHED = Path(__file__).with_name("published.yaml")
COLUMNS = ["score", "model", "published", "published on", "ours", "ci_low", "ci_high", "n", "chance", "data"]


def beside_the_paper(tables: Mapping[str, Mapping[str, pd.DataFrame]], data: str) -> pd.DataFrame:
    """One row for each published number: COLUMNS, values in per cent; ours is NaN, and data 'not scored', where no table has it.

    tables: task -> name -> table, as of prdlib.evaluate; data: the collection that they were made on.
    """
    rows = []
    for entry in yaml.safe_load(PUBLISHED.read_text()):
        ours = entry["ours"]
        table = tables.get(ours["task"], {}).get(ours["table"], pd.DataFrame())
        for column, wanted in ours["where"].items():
            table = table[table[column] == wanted] if column in table else table.iloc[:0]
        for model, published in entry["published"].items():
            row = {"score": entry["score"], "model": model, "published": published, "published on": entry["published_on"],
                   "ours": np.nan, "data": "not scored"}  # fmt: skip
            part = table[table[ours.get("model", "model")] == model] if len(table) else table
            if len(part):
                found = part.iloc[0]
                names = {
                    "ours": ours.get("value", "value"),
                    "ci_low": "ci_low",
                    "ci_high": "ci_high",
                    "chance": "chance",
                }
                row |= {name: 100 * float(found[column]) for name, column in names.items()}
                row |= {"n": int(found["n"]), "data": f"{found.pairs} sentence pairs" if "pairs" in part else data}
            rows.append(row)
    return pd.DataFrame(rows).reindex(columns=COLUMNS)
