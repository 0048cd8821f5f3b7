"""The step of `miniweather.py` in loops, as one writes it for compilers without slices and bundles."""

import numpy as np
from jaxtyping import Float64

import hpacml

from . import miniweather
from .miniweather import C0, GAMMA, GRAVITY, VISCOSITY, State

Cells = Float64[np.ndarray, "3 K"]
Faces = Float64[np.ndarray, "3 H"]


@hpacml.kernel
def _value(a: float, b: float, c: float, d: float):
    return -a / 12.0 + 7.0 * b / 12.0 + 7.0 * c / 12.0 - d / 12.0


@hpacml.kernel
def _third(a: float, b: float, c: float, d: float):
    return -a + 3.0 * b - 3.0 * c + d


@hpacml.kernel
def _along_x(now: State, start: State, out: State, flux: State, cells: Cells, dt: float, step: float, dx: float):
    """`out = start + step * tendency of now`, along x."""
    nz, nx = now.shape[1] - 4, now.shape[2] - 4
    for v in range(4):
        for k in range(nz):
            now[v, k + 2, 0] = now[v, k + 2, nx]
            now[v, k + 2, 1] = now[v, k + 2, nx + 1]
            now[v, k + 2, nx + 2] = now[v, k + 2, 2]
            now[v, k + 2, nx + 3] = now[v, k + 2, 3]
    hv = -VISCOSITY * dx / (16.0 * dt)
    for k in range(nz):
        row = k + 2
        for i in range(nx + 1):
            rho = _value(now[0, row, i], now[0, row, i + 1], now[0, row, i + 2], now[0, row, i + 3]) + cells[0, row]
            u = _value(now[1, row, i], now[1, row, i + 1], now[1, row, i + 2], now[1, row, i + 3]) / rho
            w = _value(now[2, row, i], now[2, row, i + 1], now[2, row, i + 2], now[2, row, i + 3]) / rho
            heat = _value(now[3, row, i], now[3, row, i + 1], now[3, row, i + 2], now[3, row, i + 3]) + cells[1, row]
            t = heat / rho
            p = C0 * (rho * t) ** GAMMA
            d0 = _third(now[0, row, i], now[0, row, i + 1], now[0, row, i + 2], now[0, row, i + 3])
            d1 = _third(now[1, row, i], now[1, row, i + 1], now[1, row, i + 2], now[1, row, i + 3])
            d2 = _third(now[2, row, i], now[2, row, i + 1], now[2, row, i + 2], now[2, row, i + 3])
            d3 = _third(now[3, row, i], now[3, row, i + 1], now[3, row, i + 2], now[3, row, i + 3])
            flux[0, k, i] = rho * u - hv * d0
            flux[1, k, i] = rho * u * u + p - hv * d1
            flux[2, k, i] = rho * u * w - hv * d2
            flux[3, k, i] = rho * u * t - hv * d3
    for v in range(4):
        for k in range(nz):
            for i in range(nx):
                tendency = -(flux[v, k, i + 1] - flux[v, k, i]) / dx
                out[v, k + 2, i + 2] = start[v, k + 2, i + 2] + step * tendency


@hpacml.kernel
def _along_z(now: State, start: State, out: State, flux: State, faces: Faces, dt: float, step: float, dz: float):
    """`out = start + step * tendency of now`, along z."""
    nz, nx = now.shape[1] - 4, now.shape[2] - 4
    for v in range(4):
        for i in range(nx + 4):
            now[v, 0, i] = 0.0 if v == 2 else now[v, 2, i]
            now[v, 1, i] = 0.0 if v == 2 else now[v, 2, i]
            now[v, nz + 2, i] = 0.0 if v == 2 else now[v, nz + 1, i]
            now[v, nz + 3, i] = 0.0 if v == 2 else now[v, nz + 1, i]
    hv = -VISCOSITY * dz / (16.0 * dt)
    for k in range(nz + 1):
        for i in range(nx):
            c = i + 2
            rho = _value(now[0, k, c], now[0, k + 1, c], now[0, k + 2, c], now[0, k + 3, c]) + faces[0, k]
            u = _value(now[1, k, c], now[1, k + 1, c], now[1, k + 2, c], now[1, k + 3, c]) / rho
            w = _value(now[2, k, c], now[2, k + 1, c], now[2, k + 2, c], now[2, k + 3, c]) / rho
            heat = _value(now[3, k, c], now[3, k + 1, c], now[3, k + 2, c], now[3, k + 3, c]) + faces[1, k]
            t = heat / rho
            p = C0 * (rho * t) ** GAMMA - faces[2, k]
            d0 = _third(now[0, k, c], now[0, k + 1, c], now[0, k + 2, c], now[0, k + 3, c])
            d1 = _third(now[1, k, c], now[1, k + 1, c], now[1, k + 2, c], now[1, k + 3, c])
            d2 = _third(now[2, k, c], now[2, k + 1, c], now[2, k + 2, c], now[2, k + 3, c])
            d3 = _third(now[3, k, c], now[3, k + 1, c], now[3, k + 2, c], now[3, k + 3, c])
            if k == 0 or k == nz:
                w = 0.0
                d0 = 0.0
            flux[0, k, i] = rho * w - hv * d0
            flux[1, k, i] = rho * w * u - hv * d1
            flux[2, k, i] = rho * w * w + p - hv * d2
            flux[3, k, i] = rho * w * t - hv * d3
    for v in range(3, -1, -1):  # density is the last to change, which may be in place
        for k in range(nz):
            for i in range(nx):
                tendency = -(flux[v, k + 1, i] - flux[v, k, i]) / dz
                if v == 2:
                    tendency -= now[0, k + 2, i + 2] * GRAVITY
                out[v, k + 2, i + 2] = start[v, k + 2, i + 2] + step * tendency


@hpacml.kernel
def advance(
    state: State, other: State, flux: State, cells: Cells, faces: Faces, dx: float, dz: float, dt: float, x_first: bool
):
    """One step, in place. `other` and `flux` are for its use."""
    for turn in range(2):
        if (turn == 0) == x_first:
            _along_x(state, state, other, flux, cells, dt, dt / 3.0, dx)
            _along_x(other, state, other, flux, cells, dt, dt / 2.0, dx)
            _along_x(other, state, state, flux, cells, dt, dt, dx)
        else:
            _along_z(state, state, other, flux, faces, dt, dt / 3.0, dz)
            _along_z(other, state, other, flux, faces, dt, dt / 2.0, dz)
            _along_z(other, state, state, flux, faces, dt, dt, dz)


class Simulation(miniweather.Simulation):
    """The same program, advanced by loops."""

    def __init__(self, nx, nz):
        super().__init__(nx, nz)
        self.flux = np.zeros_like(self.state)

    def step(self):
        """One step."""
        grid = self.grid
        arrays = self.state, self.other, self.flux, grid.cells, grid.faces
        advance(*arrays, grid.dx, grid.dz, grid.dt, self._x_first)
        self._x_first = not self._x_first
