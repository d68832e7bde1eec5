"""frameworks.py NAME SHAPE THREADS SECONDS REALTIME [MODE]: a step of `rein bench step` in another framework.

Prints one JSON object a line for each mode of the framework, or the one that is named:
{"mode", "version", "ms_min", "ms_median"}. With REALTIME 1 other processes wait while steps are timed.
A step is forward, loss, backward, clip by the global norm, Adam, and the loss read back; numbers are
float32, the batch is the same each step, as in apps/bench_step.cpp.
"""

import json
import os
import statistics
import sys
import time
from collections import namedtuple

import numpy as np

Shape = namedtuple("Shape", "batch steps inputs units outputs every_step loss vocabulary layers",
                   defaults=(0, 1))
SHAPES = {
    "seed": Shape(128, 28, 28, 128, 10, False, "cross_entropy"),
    "charrnn": Shape(50, 50, 65, 128, 65, True, "cross_entropy", 65, 2),
    "h512": Shape(32, 64, 65, 512, 65, True, "cross_entropy", 65),
    "ptb": Shape(20, 35, 650, 650, 10000, True, "cross_entropy", 10000, 2),
    "tiny": Shape(1, 100, 8, 32, 10, False, "cross_entropy"),
    "amp": Shape(1, 2048, 1, 16, 1, True, "squared_error"),
    "ampb": Shape(32, 2048, 1, 16, 1, True, "squared_error"),
    "forecast": Shape(256, 48, 8, 64, 1, False, "squared_error"),
}
CLIP_NORM, LEARNING_RATE = 5.0, 1e-3


def batch_of(s, time_major):
    """Inputs [steps, batch, ...] or [batch, steps, ...], and a target for each prediction."""
    random = np.random.default_rng(2)
    rows = (s.steps, s.batch) if time_major else (s.batch, s.steps)
    if s.vocabulary:
        x = random.integers(0, s.vocabulary, rows).astype(np.int32)
    else:
        x = random.standard_normal((*rows, s.inputs)).astype(np.float32)
    predictions = rows if s.every_step else (s.batch,)
    if s.loss == "cross_entropy":
        return x, random.integers(0, s.outputs, predictions).astype(np.int32)
    return x, random.standard_normal((*predictions, s.outputs)).astype(np.float32)


# Each of the three returns {mode: a function that makes a step}; a step returns the loss.


def torch_steps(s, threads):
    """Without torch.compile: it leaves nn.LSTM, which is oneDNN's, as it is, and gains nothing."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    torch.set_num_threads(threads)
    x, y = (torch.from_numpy(a) for a in batch_of(s, time_major=True))
    y = y.long() if s.loss == "cross_entropy" else y
    table = nn.Embedding(s.vocabulary, s.inputs) if s.vocabulary else nn.Identity()
    lstm, out = nn.LSTM(s.inputs, s.units, s.layers), nn.Linear(s.units, s.outputs)
    parameters = [p for module in (table, lstm, out) for p in module.parameters()]
    adam = torch.optim.Adam(parameters, lr=LEARNING_RATE, fused=True)

    def step():
        adam.zero_grad(set_to_none=True)
        hidden = lstm(table(x))[0]
        prediction = out(hidden if s.every_step else hidden[-1])
        if s.loss == "cross_entropy":
            loss = F.cross_entropy(prediction.reshape(-1, s.outputs), y.reshape(-1))
        else:
            loss = F.mse_loss(prediction, y)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, CLIP_NORM, foreach=True)
        adam.step()
        return loss.item()

    return {"eager": lambda: step}


def tensorflow_steps(s, threads):
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    x, y = (tf.constant(a) for a in batch_of(s, time_major=False))
    if s.loss == "cross_entropy":
        loss_of = lambda p: tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=p)
    else:
        loss_of = lambda p: tf.square(p - y)

    def make_step(unroll, jit):
        layers = [tf.keras.layers.Embedding(s.vocabulary, s.inputs)] if s.vocabulary else []
        for i in range(s.layers):
            sequences = s.every_step or i + 1 < s.layers
            layers.append(tf.keras.layers.LSTM(s.units, return_sequences=sequences, unroll=unroll))
        model = tf.keras.Sequential([*layers, tf.keras.layers.Dense(s.outputs)])
        model.build(x.shape)
        adam = tf.keras.optimizers.Adam(LEARNING_RATE)
        adam.build(model.trainable_variables)

        @tf.function(jit_compile=jit)
        def run():
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(loss_of(model(x)))
            gradients = tape.gradient(loss, model.trainable_variables)
            gradients, _ = tf.clip_by_global_norm(
                [tf.convert_to_tensor(g) for g in gradients], CLIP_NORM)
            adam.apply(gradients, model.trainable_variables)
            return loss

        return lambda: float(run())

    modes = {"tf.function": lambda: make_step(unroll=False, jit=False),
             "XLA": lambda: make_step(unroll=False, jit=True)}
    if s.steps <= 64:  # the graph grows with the steps, and so does the time to make it
        modes["unrolled"] = lambda: make_step(unroll=True, jit=False)
    return modes


def jax_steps(s, threads):
    """An LSTM by lax.scan, with the products of the inputs in it or ahead of it, whichever is faster."""
    import jax
    import jax.numpy as jnp
    import optax
    from jax import lax

    x, y = (jnp.asarray(a) for a in batch_of(s, time_major=True))
    optimizer = optax.chain(optax.clip_by_global_norm(CLIP_NORM), optax.adam(LEARNING_RATE))

    def initial():
        random = np.random.default_rng(1)
        draw = lambda *shape: jnp.asarray(random.uniform(-0.1, 0.1, shape), jnp.float32)
        parameters = {"out": (draw(s.units, s.outputs), draw(s.outputs))}
        for i in range(s.layers):
            inputs = s.inputs if i == 0 else s.units
            parameters[f"rnn_{i}"] = (draw(inputs + s.units, 4 * s.units), draw(4 * s.units))
        if s.vocabulary:
            parameters["table"] = draw(s.vocabulary, s.inputs)
        return parameters

    def lstm(kernel, bias, x, ahead):
        inputs = x.shape[-1]
        if ahead:
            x = x @ kernel[:inputs] + bias

        def cell(state, x):
            h, c = state
            if ahead:
                z = x + h @ kernel[inputs:]
            else:
                z = jnp.concatenate([x, h], 1) @ kernel + bias
            i, g, f, o = jnp.split(z, 4, 1)
            c = jax.nn.sigmoid(f + 1) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), h

        zero = jnp.zeros((s.batch, s.units))
        return lax.scan(cell, (zero, zero), x)[1]

    def make_step(ahead):
        def cost(parameters):
            hidden = parameters["table"][x] if s.vocabulary else x
            for i in range(s.layers):
                hidden = lstm(*parameters[f"rnn_{i}"], hidden, ahead)
            weights, bias = parameters["out"]
            prediction = (hidden if s.every_step else hidden[-1]) @ weights + bias
            if s.loss == "cross_entropy":
                return optax.softmax_cross_entropy_with_integer_labels(prediction, y).mean()
            return jnp.square(prediction - y).mean()

        def run(parameters, state):
            loss, gradients = jax.value_and_grad(cost)(parameters)
            updates, state = optimizer.update(gradients, state)
            return optax.apply_updates(parameters, updates), state, loss

        run = jax.jit(run, donate_argnums=(0, 1))
        parameters = initial()
        now = [parameters, optimizer.init(parameters)]

        def step():
            *now[:], loss = run(*now)
            return float(loss)

        return step

    return {"jit": lambda: make_step(ahead=False), "inputs ahead": lambda: make_step(ahead=True)}


FRAMEWORKS = {"torch": torch_steps, "tensorflow": tensorflow_steps, "jax": jax_steps}


def take_the_processor():
    for task in os.listdir("/proc/self/task"):
        os.sched_setscheduler(int(task), os.SCHED_FIFO, os.sched_param(1))


def give_it_back():
    for task in os.listdir("/proc/self/task"):
        os.sched_setscheduler(int(task), os.SCHED_OTHER, os.sched_param(0))


def measure(step, seconds, realtime):
    """(least, median) of the milliseconds of as many steps as fit, but at least three."""
    first, times = step(), []  # traces and compiles
    if realtime:
        take_the_processor()
    for _ in range(2):
        step()
    end = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        last = step()
        times.append(1e3 * (time.perf_counter() - start))
    if realtime:
        give_it_back()
    if not last < first:
        raise RuntimeError(f"it does not learn: loss {first}, then {last}")
    return min(times), statistics.median(times)


def main():
    name, shape, threads, seconds, realtime, *wanted = sys.argv[1:]
    version = __import__(name).__version__
    for mode, make in FRAMEWORKS[name](SHAPES[shape], int(threads)).items():
        if not wanted or mode in wanted:
            least, median = measure(make(), float(seconds), realtime == "1")
            print(json.dumps({"mode": mode, "version": version, "ms_min": least,
                              "ms_median": median}), flush=True)


if __name__ == "__main__":
    main()
