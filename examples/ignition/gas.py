"""The gas: hydrogen and air by Cantera, cell by cell, and what a reaction of it leaves as it was."""

import numpy as np

try:
    import cantera as ct
except ModuleNotFoundError:
    raise SystemExit("This example needs Cantera: pip install 'hpacml[chemistry]'") from None

MIXTURE = "H2:2, O2:1, N2:3.76"
REACTING = 8
"""H2, H, O, O2, OH, H2O, HO2, H2O2: the species whose mass fractions the arrays `y` have; nitrogen is the rest."""


class Gas:
    """Cantera's mechanism of hydrogen and oxygen. Units are those of SI: K, Pa, J/kg, s."""

    def __init__(self):
        self._solution = ct.Solution("h2o2.yaml")
        self._reactor = ct.IdealGasConstPressureReactor(self._solution, clone=False)
        self._net = ct.ReactorNet([self._reactor])
        self._solution.TPX = 300, ct.one_atm, MIXTURE
        self.fresh = self._solution.Y[:REACTING]
        self._polynomials = _polynomials(self._solution)
        self._elements = np.array([_mass_fractions(self._solution, element) for element in "HO"])
        self._conserved = self._elements @ self.fresh

    def burn(self, t, y, p, dt):
        """React each cell by itself for the time `dt`, at its pressure: float64 t[n], p[n], and y[n, 8], written."""
        for i in range(len(t)):
            self._solution.TPY = t[i], p[i], _all(y[i])
            self._reactor.volume = 1.0  # it grows as the gas expands, and no cell may depend on others
            self._reactor.syncState()
            self._net.initial_time = 0.0
            self._net.reinitialize()
            self._net.advance(dt)
            y[i] = self._solution.Y[:REACTING]

    def enthalpy(self, t, y):
        """float64[n], of NASA's polynomials: a reaction at constant pressure does not change it."""
        a = self._coefficients(t, y)
        powers = t[:, None] ** np.arange(1, 6) / np.arange(1, 6)
        return (a[:, :5] * powers).sum(1) + a[:, 5]

    def temperature(self, h, y, guess):
        """The temperatures with these enthalpies, float64[n], by Newton's method from a guess that is near them."""
        t = guess
        for _ in range(50):
            heat_capacity = (self._coefficients(t, y)[:, :5] * t[:, None] ** np.arange(5)).sum(1)
            change = (h - self.enthalpy(t, y)) / heat_capacity
            t = np.clip(t + change, 200.0, 6000.0)
            if not abs(change).max() > 1e-8:
                break
        return t

    def nearest(self, y):
        """The mass fractions nearest to `y`, each by its size, with the hydrogen and oxygen of the mixture, [n, 8]."""
        y = np.maximum(y, 0.0)
        lacking = self._conserved - y @ self._elements.T
        weights = y + 1e-20
        normal = np.einsum("ek,nk,fk->nef", self._elements, weights, self._elements)
        change = np.linalg.solve(normal, lacking[..., None])[..., 0] @ self._elements
        return np.maximum(y + weights * change, 0.0)

    def conserve(self, outputs, inputs):
        """What a network makes, with the atoms that there are."""
        return {"y": self.nearest(outputs["y"])}

    def _coefficients(self, t, y):
        low, high = _all(y) @ self._polynomials
        return np.where(t[:, None] < 1000.0, low, high)


def _all(y):
    """All mass fractions: those of what reacts, no argon, and nitrogen for the rest."""
    return np.concatenate([y, np.zeros_like(y[..., :1]), 1.0 - y.sum(-1, keepdims=True)], -1)


def _mass_fractions(solution, element):
    atoms = np.array([solution.n_atoms(species, element) for species in range(REACTING)])
    return atoms * solution.atomic_weight(element) / solution.molecular_weights[:REACTING]


def _polynomials(solution):
    """Coefficients of heat capacity and enthalpy by mass, below and above 1,000 K, float64[2, species, 6]."""
    each = np.array([species.thermo.coeffs for species in solution.species()])
    by_mass = ct.gas_constant / solution.molecular_weights[:, None]
    return np.stack([each[:, 8:14] * by_mass, each[:, 1:7] * by_mass])
