"""Loads a model that Rondo registered for MLflow's pyfunc: the same rows get the answers that its endpoint gives.

MLflow's own loader hands a column of a table to an input of a graph as it is, and a graph from scikit-learn wants
it as a table of one column; and it cannot put a label and the shares of several classes into one table. What the
model's classes are, and from which score on it says which, stands in MLmodel under the flavour `rondo`.
"""

import os

import numpy as np
import pandas as pd
import yaml

TYPES = {
    "tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(bool)": np.bool_,
    "tensor(int8)": np.int8, "tensor(int16)": np.int16, "tensor(int32)": np.int32, "tensor(int64)": np.int64,
    "tensor(uint8)": np.uint8, "tensor(uint16)": np.uint16, "tensor(uint32)": np.uint32, "tensor(uint64)": np.uint64,
}


class Model:
    def __init__(self, path):
        import onnxruntime

        with open(os.path.join(os.path.dirname(path), "MLmodel"), encoding="utf-8") as file:
            self.facts = yaml.safe_load(file)["flavors"]["rondo"]
        self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def get_raw_model(self):
        return self.session

    def predict(self, data, params=None):
        """A table with the label and its probability, or with the prediction of a regression."""
        rows = self.rows(data)
        outputs = [table(output) for output in self.session.run(None, self.feeds(rows))]
        return pd.DataFrame(self.answer(outputs, len(rows)), index=rows.index)

    def rows(self, data):
        if isinstance(data, pd.DataFrame):
            return data
        names = [column["name"] for column in self.facts["columns"]]
        if isinstance(data, np.ndarray):
            return pd.DataFrame(data.reshape(-1, len(names)), columns=names)
        if isinstance(data, dict):
            data = {name: np.asarray(values).reshape(-1) for name, values in data.items()}
        return pd.DataFrame(data)

    def feeds(self, rows):
        columns, feeds = list(self.facts["columns"]), {}
        for given in self.session.get_inputs():
            flat = len(given.shape or []) == 1
            width = given.shape[1] if len(given.shape or []) == 2 else 1 if flat else None
            width = width if isinstance(width, int) else len(columns)
            own, columns = columns[:width], columns[width:]
            values = [values_of(rows, column, given.type) for column in own]
            feeds[given.name] = values[0] if flat else np.stack(values, axis=1)
        return feeds

    def answer(self, outputs, rows):
        classes, positive = self.facts["classes"], self.facts["positive"]
        floats = [output for output in outputs if output.dtype.kind == "f" and len(output) == rows]
        narrow = [output for output in floats if output.shape[1] == 1]
        if not classes:
            numbers = [output for output in outputs if output.dtype.kind in "iub" and output.shape[1] == 1]
            return {"prediction": (narrow + numbers)[0][:, 0].astype(np.float64)}
        wide = [output for output in floats if output.shape[1] == len(classes)]
        shares = (wide or narrow)[0].astype(np.float64)
        if shares.shape[1] == 1 and len(classes) == 2:
            shares = np.concatenate([1.0 - shares, shares], axis=1)
        score = shares.max(axis=1) if positive is None else shares[:, positive]
        if positive is None or len(classes) > 2:
            places = shares.argmax(axis=1)
        else:
            other = next((place for place in range(len(classes)) if place != positive), positive)
            places = np.where(score >= float(self.facts["threshold"]), positive, other)
        labels = [classes[place] for place in places]
        return {"label": [int(label) for label in labels] if self.facts["whole"] else labels, "probability": score}


def values_of(rows, column, kind):
    """A column as an input of the graph takes it."""
    name = column["name"]
    values = rows[name] if name in rows else pd.Series([None] * len(rows), index=rows.index, dtype=object)
    missing = values.isna()
    if not column["nullable"] and missing.any():
        raise ValueError(f"column `{name}`: a value is missing")
    if kind == "tensor(string)":
        return values.astype(object).where(~missing, "").astype(str).to_numpy(dtype=object)
    to = TYPES.get(kind)
    if to is None:
        raise ValueError(f"column `{name}`: no value becomes a {kind}")
    if np.issubdtype(to, np.floating):
        return pd.to_numeric(values).to_numpy(dtype=np.float64, na_value=np.nan).astype(to)
    return values.astype(object).where(~missing, 0).to_numpy().astype(to)


def table(output):
    """An output of the graph with a row for each row."""
    if isinstance(output, list) and output and isinstance(output[0], dict):
        output = [list(shares.values()) for shares in output]
    output = np.asarray(output)
    return output.reshape(len(output), -1) if output.ndim and len(output) else output.reshape(0, 1)


def _load_pyfunc(path):
    return Model(path)
