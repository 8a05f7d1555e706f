"""Logistic regression by Newton's method, as ONNX: `python train.py TRAIN.csv MODEL.onnx RIDGE`."""

import csv
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper

COLUMNS = ["x", "y", "z"]


def read(path):
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    return (np.array([[float(row[name]) for name in COLUMNS] for row in rows]),
            np.array([float(row["hit"]) for row in rows]))


def fit(inputs, labels, ridge):
    inputs = np.hstack([inputs, np.ones((len(inputs), 1))])
    weights = np.zeros(inputs.shape[1])
    for _ in range(25):
        share = 1 / (1 + np.exp(-inputs @ weights))
        slope = inputs.T @ (labels - share) - ridge * weights
        curve = (inputs * (share * (1 - share))[:, None]).T @ inputs + ridge * np.eye(len(weights))
        weights = weights + np.linalg.solve(curve, slope)
    return weights.round(6)


def model(weights):
    *slopes, intercept = (float(weight) for weight in weights)
    columns = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 1]) for name in COLUMNS]
    answers = [helper.make_tensor_value_info("label", TensorProto.INT64, [None]),
               helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2])]
    nodes = [
        helper.make_node("Concat", COLUMNS, ["row"], axis=1),
        helper.make_node("LinearClassifier", ["row"], ["label", "probabilities"], domain="ai.onnx.ml",
                         classlabels_ints=[0, 1], post_transform="LOGISTIC",
                         coefficients=[-slope for slope in slopes] + slopes,
                         intercepts=[-intercept, intercept]),
    ]
    graph = helper.make_graph(nodes, "hit", columns, answers)
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid("ai.onnx.ml", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


if __name__ == "__main__":
    train, place, ridge = sys.argv[1:]
    onnx.save(model(fit(*read(train), float(ridge))), place)
