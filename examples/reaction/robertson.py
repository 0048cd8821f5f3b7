"""The reaction at a point: Robertson's, `a -> b` slowly, `2 b -> b + c` very fast, `b + c -> a + c` fast."""

import numpy as np

import hpacml

STEP = 1.0
"""The time of a step."""
PARTS = 8
"""Implicit steps in a step."""
SLOW, VERY_FAST, FAST = 0.04, 3e7, 1e4
LARGE_B = 1e-4
"""What is large for `b`, where 1 is for the others."""


def advance(a, b, c):
    """Let the reaction go on for a step, at any points: float64 arrays of one shape, which are written.

    Raises `ArithmeticError` where Newton's method does not converge.
    """
    total = a + b + c
    x, y = a.copy(), b.copy()
    for _ in range(PARTS):
        x, y = _implicit(x, y, total, STEP / PARTS)
    a[...], b[...], c[...] = x, y, total - x - y


def _implicit(a, b, total, dt):
    """`a` and `b` after a step of the implicit Euler method, whose equations Newton's method solves at each point."""
    x, y = a, b
    moves = np.full(a.shape, True)  # a point that has converged stays, so that no point depends on others
    for _ in range(50):
        z = total - x - y
        made, lost, back = SLOW * x, VERY_FAST * y * y, FAST * y * z
        f, g = x - a - dt * (back - made), y - b - dt * (made - back - lost)
        f_x, f_y = 1.0 + dt * (SLOW + FAST * y), -dt * FAST * (z - y)
        g_x, g_y = -dt * (SLOW + FAST * y), 1.0 + dt * (FAST * (z - y) + 2.0 * VERY_FAST * y)
        determinant = f_x * g_y - f_y * g_x
        dx, dy = (g_y * f - f_y * g) / determinant, (f_x * g - g_x * f) / determinant
        x, y = np.where(moves, x - dx, x), np.where(moves, np.maximum(y - dy, 0.0), y)
        moves &= ~((abs(dx) < 1e-8) & (abs(dy) < 1e-8 * LARGE_B))
        if not moves.any():
            return x, y
    raise ArithmeticError("Newton's method has not converged after 50 iterations")


def conserve(outputs, inputs):
    """What there is of all three at a point stays what it was."""
    outputs["c"] = inputs["a"] + inputs["b"] + inputs["c"] - outputs["a"] - outputs["b"]
    return outputs


DIRECTIVES = """
    tensor functor(point: [i, 0:3] = ([i], [i], [i]))
    ml(predicated: use) inout(point(a[0:n], b[0:n], c[0:n])) database("reaction.h5") model(net)
        clip(0:) project(conserve)
"""


def _react(a, b, c, n, conserve, use, net):
    advance(a, b, c)


unguarded = hpacml.region(DIRECTIVES + 'label("reaction")')(_react)
guarded = hpacml.region(DIRECTIVES + 'label("guarded reaction") guard(range) pointwise')(_react)
