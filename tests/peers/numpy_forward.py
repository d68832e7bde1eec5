"""numpy_forward.py RUN IMAGES PREDICTIONS: the logits of the program against a forward pass in NumPy.

Reads the weights of a run by Python's safetensors and runs TensorFlow's formula of BasicLSTMCell in
float64 over the rows of each image of an IDX file. PREDICTIONS is what
`rein predict RUN IMAGES --json --logits` printed. Fails if a logit differs by more than 1e-5.
"""
import gzip
import json
import sys

import numpy as np
from safetensors.numpy import load_file

TOLERANCE = 1e-5  # the program computes in float32; logits are up to about 20 in size
FORGET_BIAS = 1.0


def read_images(path):
    raw = open(path, "rb").read()
    raw = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    shape = np.frombuffer(raw, ">u4", 3, 4)
    return np.frombuffer(raw, np.uint8, offset=16).reshape(shape) / 255.0


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def logits(w, images):
    h = c = np.zeros((len(images), len(w["out/weights"])))
    for row in images.transpose(1, 0, 2):
        x = row @ w["hidden/weights"] + w["hidden/biases"]
        i, j, f, o = np.split(np.hstack([x, h]) @ w["rnn/kernel"] + w["rnn/bias"], 4, axis=1)
        c = c * sigmoid(f + FORGET_BIAS) + sigmoid(i) * np.tanh(j)
        h = np.tanh(c) * sigmoid(o)
    return h @ w["out/weights"] + w["out/biases"]


def main(run, images_path, predictions_path):
    weights = load_file(run + "/model.safetensors")
    weights = {name: value.astype(np.float64) for name, value in weights.items()}
    expected = logits(weights, read_images(images_path))
    predictions = [json.loads(line) for line in open(predictions_path)]
    got = np.array([p["logits"] for p in predictions])
    if got.shape != expected.shape:
        sys.exit(f"logits of shape {got.shape}, NumPy has {expected.shape}")
    worst = np.abs(got - expected).max()
    same = (np.array([p["label"] for p in predictions]) == expected.argmax(axis=1)).mean()
    print(f"{len(got)} images: logits differ by at most {worst:.2e} (of {np.abs(expected).max():.1f}), "
          f"{100 * same:.2f} % equal labels")
    if not worst <= TOLERANCE:
        sys.exit(f"more than {TOLERANCE}")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
