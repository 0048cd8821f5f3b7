"""ParticleFilter: against the original program, and against its description in plain NumPy."""

import numpy as np
import pytest

import hpacml
from examples.particlefilter import app
from tests.examples.references import oracle


@pytest.fixture(scope="module")
def expected():
    return oracle("particlefilter.npz")


def test_videos_are_those_of_the_original_program(expected):
    seed, seeds = 1, []
    for n, (x, y) in enumerate(expected["start_xy"][:3]):
        video, seed = app.make_video(x, y, seed)
        seeds.append(seed)
        if n == 0:
            assert video.dtype == np.uint8
            np.testing.assert_array_equal(video, expected["video0"])
    assert seeds == [169082881, 338165761, 507248641]


def test_the_first_step_is_that_of_the_original_program(expected):
    x, y = app.track(expected["video0"][:2])[0]
    assert x == pytest.approx(expected["seq0_k1_x"] @ expected["seq0_k1_weight"], rel=1e-5)
    assert y == pytest.approx(expected["seq0_k1_y"] @ expected["seq0_k1_weight"], rel=1e-5)


def test_errors_are_those_of_the_original_program(expected):
    seed, errors = 1, {"truncate": [], "nearest": []}
    for start, end in zip(expected["start_xy"], expected["final_xy"], strict=True):
        video, seed = app.make_video(*start, seed)
        for rounding, found in errors.items():
            found.append(app.track(video, rounding=rounding, seed=seed)[-1] - end)
    rmse = {rounding: np.sqrt(np.mean(np.square(found))) for rounding, found in errors.items()}
    assert rmse == pytest.approx({"truncate": 0.468, "nearest": 0.108}, abs=5e-4)
    bias = np.mean(errors["truncate"], axis=0)
    assert ((bias > 0.4) & (bias < 0.51)).all()


@pytest.mark.parametrize("particles", [512, 300])
@pytest.mark.parametrize("rounding", ["truncate", "nearest"])
def test_all_steps_are_those_of_the_description(particles, rounding):
    video, seed = app.make_video(60, 66, 1)
    found = app.track(video, particles, rounding, seed)
    assert found.shape == (23, 2)
    assert found.dtype == np.float32
    expected = list(description(video, particles, rounding, seed))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


def description(video, particles, rounding, seed):
    """The filter in NumPy, all particles at once."""
    f, n = np.float32, particles
    seeds = np.arange(1, n + 1)
    seeds[0] = seed

    def uniform(some):
        wrapped = (1103515245 * seeds[some] + 12345).astype(np.int32).astype(int)
        seeds[some] = np.fmod(wrapped, 2147483647)
        return abs(seeds[some].astype(f) / f(2147483647))

    def normal(some):
        u, v = uniform(some), uniform(some)
        return np.sqrt(f(-2) * np.log(u)) * np.cos(f(2) * f(np.pi) * v)

    x = y = np.full(n, 64, f)
    for k in range(1, len(video)):
        x = x + (f(1) + f(5) * normal(slice(None)))
        y = y + (f(-2) + f(2) * normal(slice(None)))
        column, row = (np.trunc(p if rounding == "truncate" else p + f(0.5)).astype(int) for p in (x, y))
        total = np.zeros(n, f)
        for dx in range(-4, 5):
            for dy in range(-4, 5):
                if dx**2 + dy**2 < 25:
                    place = abs(k * 128 * 128 + (row + dy) * 128 + column + dx)
                    pixel = video.ravel()[np.where(place < video.size, place, 0)].astype(int)
                    total += (((pixel - 100) ** 2 - (pixel - 228) ** 2) / 50).astype(f)
        weights = np.exp(total / f(69) - f(300)) / f(n)
        weights /= np.pad(weights, (0, -n % 256)).reshape(-1, 256).sum(1, dtype=float).sum().astype(f)
        estimate = np.cumsum(x * weights)[-1], np.cumsum(y * weights)[-1]
        sums = np.cumsum(weights)
        wanted = normal(slice(1))[0] / f(n) + np.arange(n).astype(f) / f(n)
        chosen = [next((j for j in range(n) if sums[j] >= each), n - 1) for each in wanted]
        x, y = x[chosen], y[chosen]
        yield estimate


def test_regions_see_the_frames_as_the_model_does(tmp_path):
    video, seed = app.make_video(60, 66, 1)
    found = app.track(video[:3].copy(), 16, seed=seed, database=str(tmp_path / "videos.h5"))
    hpacml.flush()
    with hpacml.open_database(tmp_path / "videos.h5") as data:
        x, y = data["particlefilter"].dataset(rows="points")[:]
    np.testing.assert_array_equal(x.numpy().reshape(3, 128, 128), video[:3])
    np.testing.assert_array_equal(y.numpy().reshape(3, 2), [[64, 64], *found])


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="there are 0 particles"):
        app.track(np.zeros((2, 8, 8), np.uint8), particles=0)
    with pytest.raises(ValueError, match="'up'; there are 'truncate' and 'nearest'"):
        app.track(np.zeros((2, 8, 8), np.uint8), rounding="up")


def test_blocks_of_particles_do_not_change_positions():
    video, _ = app.make_video(60, 66, 1)
    found = [app.track(video[:4].copy(), particles=70, block=block) for block in (app.BLOCK, 7)]
    np.testing.assert_array_equal(*found)
    with pytest.raises(ValueError, match="a block has 0 particles"):
        app.track(video, block=0)
