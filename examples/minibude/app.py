"""The application: miniBUDE, the energy of a ligand in poses beside a protein, with directives.

Everything is float32. A pose is three angles (tilt, roll, pan) and a translation; poses are float32[6, n].
"""

from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int32

import hpacml
from hpacml import approx

from ..devices import empty_like

BLOCK, BLOCK_ON_GPU = 64, 4
"""So many poses meet an atom of the protein together: on a GPU, in a thread."""

HARDNESS = 38.0
DONOR_OR_ACCEPTOR, CHARGED, APOLAR = 69, 70, 45
"""Kinds of atoms, as the letters that a force field has: E, F and -."""

Poses = Float32[np.ndarray, "6 n"]
Energies = Float32[np.ndarray, "n"]


class Atoms(NamedTuple):
    """A molecule: where its atoms are, and which type of the force field each has."""

    x: Float32[np.ndarray, "_"]
    y: Float32[np.ndarray, "_"]
    z: Float32[np.ndarray, "_"]
    type: Int32[np.ndarray, "_"]

    def thinned(self, stride):
        """Every `stride`-th atom."""
        return Atoms(*(field[::stride].copy() for field in self))


class ForceField(NamedTuple):
    """What is known of each type of atoms."""

    kind: Int32[np.ndarray, "T"]
    radius: Float32[np.ndarray, "T"]
    hydrophobicity: Float32[np.ndarray, "T"]
    charge: Float32[np.ndarray, "T"]


class Deck(NamedTuple):
    """One problem: two molecules, their force field, and poses float32[6, n] to try."""

    ligand: Atoms
    protein: Atoms
    forces: ForceField
    poses: Float32[np.ndarray, "6 _"]

    def thinned(self, stride):
        """The deck with every `stride`-th atom of both molecules."""
        return self._replace(ligand=self.ligand.thinned(stride), protein=self.protein.thinned(stride))


@cache
def program(block):
    """The kernel in which `block` poses meet an atom of the protein together."""

    @hpacml.kernel
    def dock(
        deck: Deck,
        poses: Poses,
        energies: Energies,
        ni: int,
        use_model: bool,
        record: bool,
        model: str | None,
        database: str | None,
    ):
        """The energies of poses. The model takes `ni` poses at once."""
        n = len(energies)
        nval = n // ni  # noqa: F841 (the directives use it)
        approx("tensor functor(ipt_functor: [i, 0:6*ni] = ([0:6, i*ni : i*ni+ni]))")
        approx("tensor functor(opt_functor: [i, 0:ni] = ([i*ni : i*ni+ni]))")
        with approx("""ml(predicated: use_model) if(use_model or record) label("minibude")
                       in(ipt_functor(poses[0:6, 0:nval])) out(opt_functor(energies[0:nval]))
                       model(model) database(database)"""):
            for number in hpacml.prange((n + block - 1) // block):
                first = number * block
                last = min(first + block, n)
                _dock_block(deck.ligand, deck.protein, deck.forces, poses[:, first:last], energies[first:last])

    @hpacml.kernel
    def _dock_block(ligand: Atoms, protein: Atoms, forces: ForceField, poses: Poses, energies: Energies):
        """The energies of at most `block` poses."""
        moves = np.empty((3, 4, block), np.float32)
        at = np.empty((3, block), np.float32)
        total = np.zeros(block, np.float32)
        for i in range(len(energies)):
            _move(poses[:, i], moves[:, :, i])
        for a in range(len(ligand.x)):
            for k in range(3):
                for i in range(len(energies)):
                    at[k, i] = moves[k, 3, i] + (
                        ligand.x[a] * moves[k, 0, i] + ligand.y[a] * moves[k, 1, i] + ligand.z[a] * moves[k, 2, i]
                    )
            for b in range(len(protein.x)):
                radii, charge, slope, hydrophobicity, decay = _pair(forces, ligand.type[a], protein.type[b])
                inverse = 1.0 / radii
                x, y, z = protein.x[b], protein.y[b], protein.z[b]
                for i in range(len(energies)):
                    dx, dy, dz = at[0, i] - x, at[1, i] - y, at[2, i] - z
                    distance = np.sqrt(dx * dx + dy * dy + dz * dz)
                    gap = distance - radii
                    total[i] += (
                        2.0 * HARDNESS * max(0.0, 1.0 - distance * inverse)
                        + charge * _fading(gap, slope)
                        + hydrophobicity * _fading(gap, decay)
                    )
        for i in range(len(energies)):
            energies[i] = 0.5 * total[i]

    return dock


dock, dock_on_gpu = map(program, (BLOCK, BLOCK_ON_GPU))


def _move(pose, move):
    """Write the rotation and translation of a pose as a matrix of 3 x 4."""
    sx, cx, sy, cy, sz, cz = (
        np.sin(pose[0]), np.cos(pose[0]), np.sin(pose[1]), np.cos(pose[1]), np.sin(pose[2]), np.cos(pose[2])
    )  # fmt: skip
    move[0] = cy * cz, sx * sy * cz - cx * sz, cx * sy * cz + sx * sz, pose[3]
    move[1] = cy * sz, sx * sy * sz + cx * cz, cx * sy * sz - sx * cz, pose[4]
    move[2] = -sy, sx * cy, cx * cy, pose[5]


def _pair(forces, a, b):
    """What two types of atoms have in common: radii, charge and how it fades, hydrophobicity and how that does."""
    charge = 45.0 * (forces.charge[a] * forces.charge[b])
    if forces.kind[a] == DONOR_OR_ACCEPTOR or forces.kind[b] == DONOR_OR_ACCEPTOR:
        charge = -abs(charge)
    slope = 0.25 if forces.kind[a] == CHARGED and forces.kind[b] == CHARGED else 0.5
    ha, hb = forces.hydrophobicity[a], forces.hydrophobicity[b]
    both = abs(ha) + abs(hb) if (ha < 0 and hb > 0) or (ha > 0 and hb < 0) else ha + hb
    if hb == 0 or (ha >= 0 and hb >= 0):
        both = np.float32(0.0)
    decay = 1.0 / 5.5 if ha < 0 and hb < 0 else 1.0
    return forces.radius[a] + forces.radius[b], charge, np.float32(slope), both, np.float32(decay)


def _fading(gap, rate):
    """1 where two atoms touch, then less and less, and 0 from a distance of 1 / rate on."""
    return min(1.0, max(0.0, 1.0 - gap * rate))


def accurate(deck, poses):
    """The energies float32[n] of poses float32[6, n]."""
    return energies(deck, poses)


def energies(deck, poses, ni=1, model=None, database=None, block=None):
    """The energies float32[n] of poses float32[6, n], `ni` at once, by the file `model` or the program.

    The results of the program go to the file `database`. It runs where the arrays are, of the deck too. `block` poses
    meet an atom of the protein together; None: `BLOCK`, or `BLOCK_ON_GPU`. Raises ValueError if n is no multiple of
    `ni`, and for a molecule whose arrays do not belong together.
    """
    n = poses.shape[1]
    for name in ("ligand", "protein"):
        _require_whole(name, getattr(deck, name), len(deck.forces.kind))
    if ni < 1 or n % ni:
        raise ValueError(f"{n} poses are no multiple of ni={ni}, the poses that a model takes at once")
    result = empty_like(poses, n)
    if block is None:
        block = BLOCK_ON_GPU if getattr(poses, "is_cuda", False) else BLOCK
    elif block < 1:
        raise ValueError(f"a block has {block} poses; it takes one at least")
    program(block)(deck, poses, result, ni, model is not None, database is not None, model, database)
    return result


def _require_whole(name, atoms, types):
    """Refuse a molecule with arrays of different lengths, or with types that the force field does not have."""
    lengths = {field: len(array) for field, array in atoms._asdict().items()}
    if len({*lengths.values()}) > 1:
        raise ValueError(f"the {name} has arrays of different lengths: {lengths}")
    on_host = isinstance(atoms.type, np.ndarray)  # looking at one on a GPU would wait for it
    if on_host and ((atoms.type < 0) | (atoms.type >= types)).any():
        raise ValueError(f"an atom of the {name} has a type that its force field, with {types} types, does not have")


_ATOM = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("type", "<i4")])
_POSE = np.dtype([("numbers", "<f4", 6)])
_FORCE = np.dtype([("kind", "<i4"), ("radius", "<f4"), ("hydrophobicity", "<f4"), ("charge", "<f4")])


def load_deck(folder):
    """The deck in a folder, as miniBUDE has them: ligand.in, protein.in, forcefield.in and poses.in.

    Raises ValueError for a file that is empty, cut off, or has numbers that are not finite.
    """
    folder = Path(folder)

    def records(name, dtype):
        size = (folder / name).stat().st_size
        if size == 0 or size % dtype.itemsize:
            raise ValueError(
                f"{folder / name} has {size} bytes, which are no multiple of {dtype.itemsize}: it is cut off"
            )
        found = np.fromfile(folder / name, dtype)
        for field in dtype.names or ():
            if not np.isfinite(found[field]).all():
                raise ValueError(f"{folder / name} has a {field} that is not finite")
        return found

    def fields(name, dtype):
        found = records(name, dtype)
        return (found[field].copy() for field in dtype.names)

    poses = records("poses.in", _POSE)["numbers"].reshape(6, -1)
    forces = ForceField(*fields("forcefield.in", _FORCE))
    molecules = [Atoms(*fields(name, _ATOM)) for name in ("ligand.in", "protein.in")]
    for name, atoms in zip(("ligand", "protein"), molecules, strict=True):
        _require_whole(name, atoms, len(forces.kind))
    return Deck(*molecules, forces, poses)


def synthetic_deck(ligand=334, protein=334, poses=65_536, seed=0, density=0.01):
    """A deck of random molecules of so many atoms, with the types of atoms of a protein.

    `density` is that of atoms in a cubic angstrom: proteins have 0.05, and every eighth atom of one 0.006.
    """
    chance = np.random.default_rng(seed)
    forces = ForceField(
        np.array([APOLAR, APOLAR, CHARGED, CHARGED, 68, DONOR_OR_ACCEPTOR], np.int32),
        np.array([1.42, 1.79, 1.73, 1.55, 1.42, 1.51], np.float32),
        np.array([-0.15, 0.1, 0.437, 0.121, 0.064, 0.336], np.float32),
        np.array([0.0, 0.0, 1.0, -0.5, 0.5389, 0.2599], np.float32),
    )
    share = [0.6, 0.18, 0.01, 0.01, 0.15, 0.05]
    molecules = (
        Atoms(*_ball(chance, count, density), chance.choice(len(share), count, p=share).astype(np.int32))
        for count in (ligand, protein)
    )
    return Deck(*molecules, forces, random_poses(poses, seed))


def _ball(chance, count, density):
    """Random points, so many in a unit of volume, in a ball that rotates around a point inside: float32[3, count]."""
    direction = chance.standard_normal((3, count))
    radius = np.cbrt(chance.random(count) * count / (density * 4 / 3 * np.pi))
    points = direction / np.linalg.norm(direction, axis=0) * radius - [[0.0], [0.0], [10.0]]
    return points.astype(np.float32)


def random_poses(count, seed=42):
    """Distinct poses float32[6, count]: angles in steps of 10 degrees, translations in steps of 1 between -7 and 7."""
    sizes = (36,) * 3 + (15,) * 3
    places = np.random.default_rng(seed).choice(np.prod(sizes), count, replace=False)
    places = np.stack(np.unravel_index(places, sizes))
    return np.concatenate([np.radians(10.0 * places[:3] - 170.0), places[3:] - 7.0]).astype(np.float32)
