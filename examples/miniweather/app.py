"""The application: MiniWeather (2-D dry compressible flow over a hydrostatic background), with directives.

A state is float64[4, nz + 4, nx + 4]: density, momenta along x and z, density times potential temperature, the first
and the last relative to the background. Two rows and columns at each side are halos.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64

import hpacml
from hpacml import approx

C0, GAMMA = 27.5629410929725921310572974482, 1.40027894002789400278940027894
GRAVITY, CP, RD, P0, THETA0 = 9.8, 1004.0, 287.0, 1e5, 300.0
LENGTH, HEIGHT, MAX_SPEED, CFL = 2e4, 1e4, 450.0, 1.5

State = Float64[np.ndarray, "4 K L"]
Flux = Float64[np.ndarray, "4 H W"]


class Grid(NamedTuple):
    """What does not change in a simulation: background, boundaries, and the sizes of cells (m) and steps (s)."""

    cells: Float64[np.ndarray, "2 K"]
    """Density and density times potential temperature in rows of cells."""
    faces: Float64[np.ndarray, "3 H"]
    """The same and the pressure between rows."""
    slope: Float64[np.ndarray, "L"]
    """Of the ground: wind along x times this is the wind along z."""
    inflow: Bool[np.ndarray, "K"]
    """In which rows air is injected from the left."""
    halo: Float64[np.ndarray, "4"]
    """What x-momentum is in the halos below (two) and above, relative to that in the row beside them."""
    dx: float
    dz: float
    dt: float
    viscosity: Float64[np.ndarray, "2"]
    """Along x and z; divided by a time step it is that of the fluxes."""
    stagewise: bool
    """Whether that time step is the stage's, or all stages have `dt`."""


class Scratch(NamedTuple):
    """Memory for a row of faces, and for the fluxes through all of them, which a simulation takes once."""

    value: Float64[np.ndarray, "4 F"]
    third: Float64[np.ndarray, "4 F"]
    flux: Float64[np.ndarray, "4 H F"]


@hpacml.kernel
def _along_x(now: State, start: State, out: State, scratch: Scratch, grid: Grid, step: float, viscosity: float):
    """`out = start + step * tendency of now`, along x."""
    flux = scratch.flux[:, 0]
    for k in range(2, now.shape[1] - 2):
        row = now[:, k]
        row[:, :2] = row[:, -4:-2]
        row[:, -2:] = row[:, 2:4]
        if grid.inflow[k]:
            density = row[0, :2] + grid.cells[0, k]
            row[1, :2] = 50.0 * density
            row[3, :2] = 298.0 * density - grid.cells[1, k]
        cells = row[:, :-3], row[:, 1:-2], row[:, 2:-1], row[:, 3:]
        _fluxes(cells, grid.cells[0, k], grid.cells[1, k], 0.0, 1, viscosity, False, scratch.value, scratch.third, flux)
        for v in range(4):
            for i in range(2, now.shape[2] - 2):
                out[v, k, i] = start[v, k, i] - step / grid.dx * (flux[v, i - 1] - flux[v, i - 2])


@hpacml.kernel
def _along_z(now: State, start: State, out: State, scratch: Scratch, grid: Grid, step: float, viscosity: float):
    """`out = start + step * tendency of now`, along z."""
    now[:, :2] = now[:, 2:3]
    now[:, -2:] = now[:, -3:-2]
    for k in range(2):
        now[2, k] = grid.slope * now[1, 2]
        now[1, k] *= grid.halo[k]
        now[1, k - 2] *= grid.halo[k - 2]
    now[2, -2:] = 0.0
    rows, last = now[:, :, 2:-2], now.shape[1] - 4
    value, third, flux = scratch.value[:, 1:], scratch.third[:, 1:], scratch.flux[:, :, 1:]
    for k in range(last + 1):
        cells = rows[:, k], rows[:, k + 1], rows[:, k + 2], rows[:, k + 3]
        wall = k == 0 or k == last
        _fluxes(
            cells, grid.faces[0, k], grid.faces[1, k], grid.faces[2, k], 2, viscosity, wall, value, third, flux[:, k]
        )
    for k in range(last):
        third[0] = GRAVITY * rows[0, k + 2]
        for v in range(4):
            for i in range(now.shape[2] - 4):
                tendency = (flux[v, k, i] - flux[v, k + 1, i]) / grid.dz
                if v == 2:
                    tendency -= third[0, i]
                out[v, k + 2, i + 2] = start[v, k + 2, i + 2] + step * tendency


def _fluxes(cells, density, heat, pressure, along, viscosity, wall, value, third, flux):
    """Write what flows through a row of faces, of the two cells before and the two behind each."""
    a, b, c, d = cells
    n = a.shape[1]
    for v in range(4):
        for i in range(n):
            value[v, i] = (7.0 * (b[v, i] + c[v, i]) - a[v, i] - d[v, i]) / 12.0
            third[v, i] = 3.0 * (b[v, i] - c[v, i]) + d[v, i] - a[v, i]
    value[0] += density
    value[3] += heat
    if wall:
        value[along] = third[0] = 0.0
    for v in range(4):
        for i in range(n):
            flux[v, i] = value[along, i] / value[0, i] * value[v, i] + viscosity * third[v, i]
    for i in range(n):
        flux[along, i] += C0 * value[3, i] ** GAMMA - pressure


@hpacml.kernel
def advance(
    state: State,
    grid: Grid,
    x_first: bool,
    steps: int,
    use_model: bool,
    record: bool,
    model: str | None,
    database: str | None,
):
    """Steps, in place. The first is along x and then along z if `x_first`, the next the other way, and so on."""
    K, L, dt = state.shape[1], state.shape[2], grid.dt
    approx("tensor functor(state_functor: [v, k, i] = ([v, k, i]))")
    other, faces = np.empty_like(state), L - 3
    scratch = Scratch(np.empty((4, faces)), np.empty((4, faces)), np.empty((4, K - 3, faces)))
    for n in range(steps):
        with approx("""ml(predicated: use_model) if(use_model or record) inout(state_functor(state[0:4, 0:K, 0:L]))
                       label("miniweather") model(model) database(database)"""):
            other[:] = state
            for is_x in (x_first == (n % 2 == 0), x_first != (n % 2 == 0)):
                for now, out, step in (state, other, dt / 3.0), (other, other, dt / 2.0), (other, state, dt):
                    viscosity = grid.viscosity / (step if grid.stagewise else dt)
                    if is_x:
                        _along_x(now, state, out, scratch, grid, step, viscosity[0])
                    else:
                        _along_z(now, state, out, scratch, grid, step, viscosity[1])


class Simulation:
    """The `case` "collision", "thermal", "mountain", "density_current" or "injection" on nx x nz cells.

    The variant "sc24" is the program of the HPAC-ML paper; "official" has less viscosity, that of each stage's own time
    step, and momenta along x in the halos below and above that belong to the density there. `integer_spacing` divides
    tendencies by dx and dz without their fraction, as the paper's program does on its GPU.
    """

    def __init__(self, nx, nz, case="collision", variant="sc24", integer_spacing=False):
        if case not in _CASES:
            raise ValueError(f"the case is {case!r}; there are {', '.join(map(repr, _CASES))}")
        if variant not in ("sc24", "official"):
            raise ValueError(f"the variant is {variant!r}; there are 'sc24' and 'official'")
        official, background = variant == "official", _CASES[case].background
        dx, dz = LENGTH / nx, HEIGHT / nz
        x, z = (np.arange(nx + 4) - 1.5) * dx, (np.arange(nz + 4) - 1.5) * dz
        self.hy_dens_cell, self.hy_dens_theta_cell, _ = background(z)
        self.hy_dens_int, self.hy_dens_theta_int, self.hy_pressure_int = background(np.arange(nz + 1) * dz)
        density = self.hy_dens_cell
        below, above = density[:2] / density[2], density[-2:] / density[-3]
        self.grid = Grid(
            cells=np.stack([density, self.hy_dens_theta_cell]),
            faces=np.stack([self.hy_dens_int, self.hy_dens_theta_int, self.hy_pressure_int]),
            slope=_slope(x, dx) if case == "mountain" else np.zeros(nx + 4),
            inflow=(abs(z - 7500.0) <= 625.0) & (case == "injection"),
            halo=np.concatenate([below, above]) if official else np.ones(4),
            dx=float(int(dx)) if integer_spacing else dx,
            dz=float(int(dz)) if integer_spacing else dz,
            dt=min(dx, dz) / MAX_SPEED * CFL,
            viscosity=(0.05 if official else 0.25) / 16.0 * np.array([dx, dz]),
            stagewise=official,
        )
        self.state = _start(_CASES[case], x, z, dx, dz)
        self._x_first = True

    def step(self, n=1, model=None, database=None, advance=advance):
        """Steps by the model in the file `model`, or the program's, which the file `database` then records."""
        advance(self.state, self.grid, self._x_first, n, model is not None, database is not None, model, database)
        self._x_first ^= n % 2 == 1


def stable(z):
    """Density, density times potential temperature, and pressure at heights where that temperature is constant."""
    return _air(np.full_like(z, THETA0), 1.0 - GRAVITY * z / (CP * THETA0))


def stratified(z, frequency=0.02):
    """The same where that temperature grows with the height."""
    theta = THETA0 * np.exp(frequency**2 * z / GRAVITY)
    return _air(theta, 1.0 - GRAVITY**2 / (CP * frequency**2) * (theta - THETA0) / (THETA0 * theta))


def _air(theta, exner):
    heat = (P0 * exner ** (CP / RD) / C0) ** (1.0 / GAMMA)
    return heat / theta, heat, C0 * heat**GAMMA


class Bubble(NamedTuple):
    """Warm or cold air at the start, in the middle of the domain."""

    amplitude: float
    height: float
    width: float = 2000.0

    def __call__(self, x, z):
        """How much warmer, at points."""
        r = np.hypot((x - LENGTH / 2) / self.width, (z - self.height) / 2000.0)
        return np.where(r <= 1.0, self.amplitude * np.cos(math.pi / 2 * r) ** 2, 0.0)


class Case(NamedTuple):
    """How a simulation starts."""

    bubbles: tuple[Bubble, ...] = ()
    wind: float = 0.0
    background: Callable = stable


_CASES = {
    "collision": Case((Bubble(20.0, 2000.0), Bubble(-20.0, 8000.0))),
    "thermal": Case((Bubble(3.0, 2000.0),)),
    "mountain": Case(wind=15.0, background=stratified),
    "density_current": Case((Bubble(-20.0, 5000.0, width=4000.0),)),
    "injection": Case(),
}


def _start(case, x, z, dx, dz):
    """The state at the start, averaged over each cell by Gauss and Legendre."""
    state = np.zeros((4, len(z), len(x)))
    point, weight = 0.112701665379258311482073460022, 0.277777777777777777777777777779
    quadrature = (point, weight), (0.5, 0.444444444444444444444444444444), (1.0 - point, weight)
    for qz, wz in quadrature:
        for qx, wx in quadrature:
            at_x, at_z = (x + (qx - 0.5) * dx)[None], (z + (qz - 0.5) * dz)[:, None]
            density = case.background(at_z)[0]
            state[1] += wx * wz * density * case.wind
            state[3] += wx * wz * density * sum(bubble(at_x, at_z) for bubble in case.bubbles)
    return state


def _slope(x, dx):
    """Of a mountain in the first half of the domain."""
    s = (x - LENGTH / 4) / 2500.0
    steep = -math.pi * np.cos(math.pi * s / 2) * np.sin(math.pi * s / 2) * 10.0 / dx
    return np.where(abs(x - LENGTH / 4) < 2500.0, steep, 0.0)
