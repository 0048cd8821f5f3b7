"""The application: MiniWeather (2-D dry compressible flow over a hydrostatic background), with directives.

A state is float64[4, nz + 4, nx + 4]: density, momenta along x and z, density times potential temperature, the first
and the last relative to the background. Two rows and columns at each side are halos.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float64

import hpacml
from hpacml import approx

C0, GAMMA = 27.5629410929725921310572974482, 1.40027894002789400278940027894
GRAVITY, CP, RD, P0, THETA0 = 9.8, 1004.0, 287.0, 1e5, 300.0
LENGTH, HEIGHT, MAX_SPEED, CFL = 2e4, 1e4, 450.0, 1.5

ROWS, FIELDS = "rows", "fields"
"""How fluxes are computed: row by row, which the caches of a CPU hold, or by kernels of a GPU that have all of them."""

State = Float64[np.ndarray, "4 K L"]


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
    viscosity_x: float
    viscosity_z: float
    """Divided by a time step these are those of the fluxes."""
    stagewise: bool
    """Whether that time step is the stage's, or all stages have `dt`."""


class Scratch(NamedTuple):
    """Memory for what is at the faces of one row or of all, and for the fluxes through all of them."""

    value: Float64[np.ndarray, "4 B F"]
    third: Float64[np.ndarray, "4 B F"]
    flux: Float64[np.ndarray, "4 H F"]


@hpacml.kernel
def _along_x(now: State, start: State, out: State, scratch: Scratch, grid: Grid, step: float):
    """`out = start + step * tendency of now`, along x, row by row, which the caches of a CPU hold."""
    value, third, flux = scratch.value[:, 0], scratch.third[:, 0], scratch.flux[:, 0]
    viscosity = _per_step(grid, grid.viscosity_x, step)
    for k in range(2, now.shape[1] - 2):
        row = now[:, k]
        row[:, :2] = row[:, -4:-2]
        row[:, -2:] = row[:, 2:4]
        if grid.inflow[k]:
            row[1, :2], row[3, :2] = _inflow(row[0, :2], grid.cells[0, k], grid.cells[1, k])
        cells = row[:, :-3], row[:, 1:-2], row[:, 2:-1], row[:, 3:]
        _fluxes_of_row(cells, grid.cells[0, k], grid.cells[1, k], 0.0, 1, viscosity, False, value, third, flux)
        for v in range(4):
            for i in range(2, now.shape[2] - 2):
                out[v, k, i] = start[v, k, i] - step / grid.dx * (flux[v, i - 1] - flux[v, i - 2])


@hpacml.kernel
def _along_z(now: State, start: State, out: State, scratch: Scratch, grid: Grid, step: float):
    """`out = start + step * tendency of now`, along z, row by row."""
    _halos_z(now, grid)
    rows, last = now[:, :, 2:-2], now.shape[1] - 4
    value, third, flux = scratch.value[:, 0, 1:], scratch.third[:, 0, 1:], scratch.flux[:, :, 1:]
    viscosity = _per_step(grid, grid.viscosity_z, step)
    for k in range(last + 1):
        cells = rows[:, k], rows[:, k + 1], rows[:, k + 2], rows[:, k + 3]
        density, heat, pressure = grid.faces[0, k], grid.faces[1, k], grid.faces[2, k]
        wall = k == 0 or k == last
        _fluxes_of_row(cells, density, heat, pressure, 2, viscosity, wall, value, third, flux[:, k])
    for k in range(last):
        third[0] = GRAVITY * rows[0, k + 2]
        for v in range(4):
            for i in range(now.shape[2] - 4):
                tendency = (flux[v, k, i] - flux[v, k + 1, i]) / grid.dz
                if v == 2:
                    tendency -= third[0, i]
                out[v, k + 2, i + 2] = start[v, k + 2, i + 2] + step * tendency


def _fluxes_of_row(cells, density, heat, pressure, along, viscosity, wall, value, third, flux):
    """Write what flows through a row of faces, of the two cells before and the two behind each."""
    a, b, c, d = cells
    n = a.shape[1]
    for v in range(4):
        for i in range(n):
            value[v, i] = _at_face(a[v, i], b[v, i], c[v, i], d[v, i])
            third[v, i] = _third_difference(a[v, i], b[v, i], c[v, i], d[v, i])
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
def _all_along_x(now: State, start: State, out: State, scratch: Scratch, grid: Grid, step: float):
    """What `_along_x` does, by expressions of whole fields, which are kernels of a GPU."""
    value, third, flux, rows = scratch.value[:, 1:], scratch.third[:, 1:], scratch.flux[:, 1:], now[:, 2:-2]
    density, heat, inflow = grid.cells[0, 2:-2, None], grid.cells[1, 2:-2, None], grid.inflow[2:-2, None]
    rows[:, :, :2] = rows[:, :, -4:-2]
    rows[:, :, -2:] = rows[:, :, 2:4]
    momentum, warmth = _inflow(rows[0, :, :2], density, heat)
    rows[1, :, :2] = np.where(inflow, momentum, rows[1, :, :2])
    rows[3, :, :2] = np.where(inflow, warmth, rows[3, :, :2])
    _at_all_faces((rows[:, :, :-3], rows[:, :, 1:-2], rows[:, :, 2:-1], rows[:, :, 3:]), density, heat, value, third)
    _all_fluxes(value, third, 0.0, 1, _per_step(grid, grid.viscosity_x, step), flux)
    out[:, 2:-2, 2:-2] = start[:, 2:-2, 2:-2] - step / grid.dx * (flux[:, :, 1:] - flux[:, :, :-1])


@hpacml.kernel
def _all_along_z(now: State, start: State, out: State, scratch: Scratch, grid: Grid, step: float):
    """What `_along_z` does, by expressions of whole fields."""
    _halos_z(now, grid)
    value, third, flux, rows = scratch.value[:, :, 1:], scratch.third[:, :, 1:], scratch.flux[:, :, 1:], now[:, :, 2:-2]
    density, heat, pressure = grid.faces[0, :, None], grid.faces[1, :, None], grid.faces[2, :, None]
    _at_all_faces((rows[:, :-3], rows[:, 1:-2], rows[:, 2:-1], rows[:, 3:]), density, heat, value, third)
    value[2, 0] = value[2, -1] = third[0, 0] = third[0, -1] = 0.0
    _all_fluxes(value, third, pressure, 2, _per_step(grid, grid.viscosity_z, step), flux)
    below, above, begin, end = flux[:, :-1], flux[:, 1:], start[:, 2:-2, 2:-2], out[:, 2:-2, 2:-2]
    end[2] = begin[2] + step * ((below[2] - above[2]) / grid.dz - GRAVITY * rows[0, 2:-2])
    end[:2] = begin[:2] + step * ((below[:2] - above[:2]) / grid.dz)
    end[3] = begin[3] + step * ((below[3] - above[3]) / grid.dz)


def _at_all_faces(cells, density, heat, value, third):
    """Write what is at faces, and third differences, of the two cells before and the two behind each."""
    value[:] = _at_face(cells[0], cells[1], cells[2], cells[3])
    third[:] = _third_difference(cells[0], cells[1], cells[2], cells[3])
    value[0] += density
    value[3] += heat


def _all_fluxes(value, third, pressure, along, viscosity, flux):
    """Write what flows through faces."""
    flux[:] = value[along] / value[0] * value + viscosity * third
    flux[along] += C0 * value[3] ** GAMMA - pressure


def _at_face(a, b, c, d):
    return (7.0 * (b + c) - a - d) / 12.0


def _third_difference(a, b, c, d):
    return 3.0 * (b - c) + d - a


def _inflow(density, background, heat):
    """The x-momentum and the heat of air that is injected, by its density and what is in the background."""
    return 50.0 * (density + background), 298.0 * (density + background) - heat


def _per_step(grid, viscosity, step):
    return viscosity / (step if grid.stagewise else grid.dt)


def _halos_z(now, grid):
    now[:, :2] = now[:, 2:3]
    now[:, -2:] = now[:, -3:-2]
    now[2, :2] = grid.slope * now[1, 2:3]
    now[2, -2:] = 0.0
    now[1, :2] *= grid.halo[:2, None]
    now[1, -2:] *= grid.halo[2:, None]


@hpacml.kernel
def step(
    state: State,
    grid: Grid,
    sweep: str,
    x_first: bool,
    infer: bool,
    record: bool,
    model: Any,
    database: str | None,
):
    """One step, in place: along x and then along z if `x_first`, or else the other way; by ROWS or FIELDS."""
    K, L, dt = state.shape[1], state.shape[2], grid.dt
    approx("tensor functor(state_functor: [v, k, i] = ([v, k, i]))")
    with approx("""ml(predicated: infer) if(infer or record) inout(state_functor(state[0:4, 0:K, 0:L]))
                   label("miniweather") model(model) database(database)"""):
        other = state.copy()
        rows, faces = K - 3 if sweep == FIELDS else 1, L - 3
        scratch = Scratch(np.empty((4, rows, faces)), np.empty((4, rows, faces)), np.empty((4, K - 3, faces)))
        for is_x in (x_first, not x_first):
            for now, out, part in (state, other, dt / 3.0), (other, other, dt / 2.0), (other, state, dt):
                if sweep == FIELDS:
                    if is_x:
                        _all_along_x(now, state, out, scratch, grid, part)
                    else:
                        _all_along_z(now, state, out, scratch, grid, part)
                elif is_x:
                    _along_x(now, state, out, scratch, grid, part)
                else:
                    _along_z(now, state, out, scratch, grid, part)


@hpacml.kernel
def advance(
    state: State,
    grid: Grid,
    sweep: str,
    x_first: bool,
    steps: int,
    original: int,
    surrogate: int,
    taken: int,
    record: bool,
    model: Any,
    database: str | None,
):
    """Steps, each in the other order of directions than that before: of `original` and `surrogate` ones in turn.

    `taken` is how many there have been of such a turn.
    """
    for n in range(steps):
        infer = (taken + n) % (original + surrogate) >= original
        step(state, grid, sweep, x_first == (n % 2 == 0), infer, record, model, database)


class Simulation:
    """The `case` "collision", "thermal", "mountain", "density_current" or "injection" on nx x nz cells.

    The variant "sc24" is the program of the HPAC-ML paper; "official" has less viscosity, that of each stage's own time
    step, and momenta along x in the halos below and above that belong to the density there. `integer_spacing` divides
    tendencies by dx and dz without their fraction, as the paper's program does on its GPU.

    With `place`, as in `lambda array: torch.from_numpy(array).cuda()`, arrays are where it puts them, and steps are
    kernels of whole fields.
    """

    def __init__(self, nx, nz, case="collision", variant="sc24", integer_spacing=False, place=None):
        if case not in _CASES:
            raise ValueError(f"the case is {case!r}; there are {', '.join(map(repr, _CASES))}")
        if variant not in ("sc24", "official"):
            raise ValueError(f"the variant is {variant!r}; there are 'sc24' and 'official'")
        self._sweep, place = (ROWS, lambda array: array) if place is None else (FIELDS, place)
        if min(nx, nz) < 4:
            raise ValueError(f"there are {nx} x {nz} cells; fluxes of fourth order take four in each direction")
        official, background = variant == "official", _CASES[case].background
        dx, dz = LENGTH / nx, HEIGHT / nz
        x, z = (np.arange(nx + 4) - 1.5) * dx, (np.arange(nz + 4) - 1.5) * dz
        self.hy_dens_cell, self.hy_dens_theta_cell, _ = background(z)
        self.hy_dens_int, self.hy_dens_theta_int, self.hy_pressure_int = background(np.arange(nz + 1) * dz)
        density, viscosity = self.hy_dens_cell, (0.05 if official else 0.25) / 16.0
        below, above = density[:2] / density[2], density[-2:] / density[-3]
        self.grid = Grid(
            cells=place(np.stack([density, self.hy_dens_theta_cell])),
            faces=place(np.stack([self.hy_dens_int, self.hy_dens_theta_int, self.hy_pressure_int])),
            slope=place(_slope(x, dx) if case == "mountain" else np.zeros(nx + 4)),
            inflow=place((abs(z - 7500.0) <= 625.0) & (case == "injection")),
            halo=place(np.concatenate([below, above]) if official else np.ones(4)),
            dx=float(int(dx)) if integer_spacing else dx,
            dz=float(int(dz)) if integer_spacing else dz,
            dt=min(dx, dz) / MAX_SPEED * CFL,
            viscosity_x=viscosity * dx,
            viscosity_z=viscosity * dz,
            stagewise=official,
        )
        self.state = place(_start(_CASES[case], x, z, dx, dz))
        self.x_first = True
        self._pattern, self._taken = (1, 0), 0

    def step(self, n=1, model=None, database=None, pattern=(0, 1), advance=advance):
        """Steps by the model in the file `model`, or the program's, which the file `database` then records.

        With a model, the `pattern` says how many steps are the program's and how many are then the model's, over and
        over: `(1, 1)` is every other one, `(0, 1)` are all. A pattern goes on in the next call, if that has the same.
        `advance` is a kernel with the loop over the steps. Raises ValueError for a negative number of steps, and for a
        pattern without any.
        """
        if n < 0:
            raise ValueError(f"there are {n} steps to take: time goes forward")
        pattern = (1, 0) if model is None else tuple(pattern)
        original, surrogate = pattern
        if min(pattern) < 0 or original + surrogate < 1:
            raise ValueError(f"the pattern {original}:{surrogate} has no steps: use 0:1 for those of the model alone")
        if pattern != self._pattern:
            self._pattern, self._taken = pattern, 0
        given = self.state, self.grid, self._sweep, self.x_first, n, original, surrogate, self._taken
        advance(*given, database is not None, model, database)
        self.x_first ^= n % 2 == 1
        self._taken = (self._taken + n) % (original + surrogate)


def advance_outside(state, grid, sweep, x_first, steps, original, surrogate, taken, record, model, database):
    """What `advance` does, by a call of the kernel `step` for each step."""
    for n in range(steps):
        infer = (taken + n) % (original + surrogate) >= original
        step(state, grid, sweep, x_first == (n % 2 == 0), infer, record, model, database)


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
