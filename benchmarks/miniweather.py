"""One time step of MiniWeather (2-D dry compressible flow, colliding thermals) as a region with the state in and out.

It is the whole step of the paper's program: two directions in turn, three stages each, with halos, fluxes and
tendencies. A state is float64[4, nz + 4, nx + 4]: density, momenta along x and z, density times potential temperature,
the first and the last relative to a hydrostatic background.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

import hpacml
from hpacml import approx

C0, GAMMA = 27.5629410929725921310572974482, 1.40027894002789400278940027894
GRAVITY, CP, CV, RD, P0 = 9.8, 1004.0, 717.0, 287.0, 1e5
LENGTH, HEIGHT = 2e4, 1e4
VISCOSITY = 0.25

State = Float64[np.ndarray, "4 K L"]


class Grid(NamedTuple):
    """The hydrostatic background, and the sizes of cells (m) and steps (s)."""

    cells: Float64[np.ndarray, "3 K"]
    """Density, density times potential temperature, and pressure in rows of cells."""
    faces: Float64[np.ndarray, "3 H"]
    """The same between rows."""
    dx: float
    dz: float
    dt: float


def _fluxes(cells, background, along, speed, wall):
    """What flows through a row of faces, of the two cells before and the two behind each."""
    a, b, c, d = cells
    value, third = (7.0 * (b + c) - a - d) / 12.0, 3.0 * (b - c) + d - a
    value[0] += background[0]
    value[3] += background[1]
    if wall:
        value[along] = third[0] = 0.0
    flux = value[along] / value[0] * value + VISCOSITY / 16.0 * speed * third
    flux[along] += C0 * value[3] ** GAMMA - background[2]
    return flux


@hpacml.kernel
def _along_x(now: State, start: State, out: State, grid: Grid, step: float):
    """`out = start + step * tendency of now`, along x."""
    for k in range(2, now.shape[1] - 2):
        row = now[:, k]
        row[:, :2] = row[:, -4:-2]
        row[:, -2:] = row[:, 2:4]
        cells = row[:, :-3], row[:, 1:-2], row[:, 2:-1], row[:, 3:]
        flux = _fluxes(cells, grid.cells[:, k], 1, grid.dx / grid.dt, False)
        out[:, k, 2:-2] = start[:, k, 2:-2] - step / grid.dx * (flux[:, 1:] - flux[:, :-1])


@hpacml.kernel
def _along_z(now: State, start: State, out: State, grid: Grid, step: float):
    """`out = start + step * tendency of now`, along z."""
    now[:, :2] = now[:, 2:3]
    now[:, -2:] = now[:, -3:-2]
    now[2, :2] = now[2, -2:] = 0.0
    rows, last = now[:, :, 2:-2], now.shape[1] - 4
    flux = np.empty((4, last + 1, now.shape[2] - 4))
    for k in range(last + 1):
        cells = rows[:, k], rows[:, k + 1], rows[:, k + 2], rows[:, k + 3]
        flux[:, k] = _fluxes(cells, grid.faces[:, k], 2, grid.dz / grid.dt, k in (0, last))
    tendency = (flux[:, :-1] - flux[:, 1:]) / grid.dz
    tendency[2] -= GRAVITY * rows[0, 2:-2]
    out[:, 2:-2, 2:-2] = start[:, 2:-2, 2:-2] + step * tendency


@hpacml.kernel
def advance(state: State, other: State, grid: Grid, x_first: bool, record: bool, database: str | None):
    """One step, in place. `other` is for its use."""
    K, L, dt = state.shape[1], state.shape[2], grid.dt  # noqa: F841 (the directive uses K and L)
    approx("tensor functor(state_functor: [v, k, i] = ([v, k, i]))")
    with approx("""ml(collect) if(record) inout(state_functor(state[0:4, 0:K, 0:L]))
                   label("miniweather") database(database)"""):
        for is_x in (x_first, not x_first):
            for now, out, step in (state, other, dt / 3.0), (other, other, dt / 2.0), (other, state, dt):
                if is_x:
                    _along_x(now, state, out, grid, step)
                else:
                    _along_z(now, state, out, grid, step)


class Simulation:
    """Colliding thermals on a grid of nx x nz cells."""

    def __init__(self, nx, nz):
        dx, dz = LENGTH / nx, HEIGHT / nz
        cells = np.stack(background((np.arange(nz + 4) - 1.5) * dz))
        faces = np.stack(background(np.arange(nz + 1) * dz))
        self.grid = Grid(cells, faces, dx, dz, min(dx, dz) / 450.0 * 1.5)
        self.state = _thermals(nx, nz)
        self.other = self.state.copy()
        self._x_first = True

    def step(self, database=None, advance=advance):
        """One step, which goes to the file `database` if there is one."""
        advance(self.state, self.other, self.grid, self._x_first, database is not None, database)
        self._x_first = not self._x_first


def background(z):
    """Density, density times potential temperature, and pressure at heights."""
    exner = 1.0 - GRAVITY * z / (CP * 300.0)
    pressure = P0 * exner ** (CP / RD)
    heat = (pressure / C0) ** (1.0 / GAMMA)
    return heat / 300.0, heat, C0 * heat**GAMMA


def _thermals(nx, nz):
    """The state at the start: a warm bubble below a cold one, averaged over each cell by Gauss and Legendre."""
    state = np.zeros((4, nz + 4, nx + 4))
    half, middle = 0.112701665379258311482073460022, 0.277777777777777777777777777779
    for qz, wz in ((half, middle), (0.5, 1 - 2 * middle), (1 - half, middle)):
        for qx, wx in ((half, middle), (0.5, 1 - 2 * middle), (1 - half, middle)):
            x = ((np.arange(nx + 4) - 1.5) + (qx - 0.5)) * (LENGTH / nx)
            z = ((np.arange(nz + 4) - 1.5) + (qz - 0.5)) * (HEIGHT / nz)
            density = background(z)[0][:, None]
            for amplitude, center in ((20.0, 2000.0), (-20.0, 8000.0)):
                r = np.hypot((x - 1e4)[None] / 2000.0, (z - center)[:, None] / 2000.0)
                state[3] += wx * wz * density * np.where(r <= 1, amplitude * np.cos(math.pi / 2 * r) ** 2, 0.0)
    return state
