"""ParticleFilter: the paper's networks, the way from collecting to measuring, and the program on a simulated GPU."""

import json

import numpy as np
import pytest
import torch

import hpacml
from examples.experiment import Setup
from examples.particlefilter import app, experiment, model
from examples.particlefilter.experiment import EXPERIMENT, FRAMES, LAST, STARTS
from tests.examples.gpu import assembled, on_gpu
from tests.examples.references import loaded, oracle


def test_the_paper_s_network_gives_what_it_gave():
    saved = oracle("net_particlefilter_k9_s3_mp4_fc0.npz")
    built = model.build(json.loads(str(saved["config"])))
    expected = saved["y"]
    np.testing.assert_allclose(loaded(built, saved), expected, rtol=0, atol=1e-4 * np.ptp(expected))


@pytest.mark.parametrize(("config", "parameters"), [((6, 4, 2, 32), 8330), ((9, 3, 4, 0), 287), ((6, 4, 1, 0), 2090)])
def test_the_paper_s_network_has_the_size_of_the_description(config, parameters):
    names = "conv_kernel_size", "conv_stride", "maxpool_kernel_size", "fc2_size"
    built = model.build(dict(zip(names, config, strict=True)))
    assert sum(each.numel() for each in built.parameters()) == parameters
    y = built(255 * torch.rand(3, 128, 128, 1))
    assert y.shape == (3, 2)
    assert ((y >= 0) & (y <= 128)).all()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"kernel": 9}, "has no 'kernel': it has conv_kernel_size, conv_stride, maxpool_kernel_size, fc2_size"),
        (
            {"conv_kernel_size": 14, "conv_stride": 14, "maxpool_kernel_size": 10},
            "leaves no pixels of a frame: 9 x 9 for maxima of 10 x 10",
        ),
    ],
)
def test_configurations_that_are_wrong(config, message):
    with pytest.raises(hpacml.ModelError, match=message):
        model.build(config)


def test_frames_are_as_videos_have_them():
    video, _ = app.make_video(64, 65, 1)
    first, _ = app.make_frames([(64, 65)], 1)
    assert first.shape == (1, 128, 128)
    noise = first[0].astype(int) - np.where(first[0] > 164, 228, 100)
    assert abs(noise.mean()) < 0.1
    assert noise.std() == pytest.approx((video[0].astype(int) - np.where(video[0] > 164, 228, 100)).std(), rel=0.05)
    two, after = app.make_frames([(64, 65), (20, 90)], 1)
    np.testing.assert_array_equal(two[0], first[0])
    last, end = app.make_frames([(20, 90)], app.make_frames([(64, 65)], 1)[1])
    np.testing.assert_array_equal(two[1:], last)
    assert after == end
    assert two[1, 90, 20] > 164 > two[1, 65, 64]


def test_positions_to_train_with_are_distinct_and_not_those_of_the_videos():
    where = experiment.centres(13_000)
    assert len(np.unique(where, axis=0)) == 13_000
    assert (where.min(), where.max()) == (5, 120)
    assert not {*map(tuple, where.tolist())} & {*map(tuple, LAST.tolist())}


def test_videos_are_those_of_the_paper():
    saved = oracle("particlefilter.npz")
    np.testing.assert_array_equal(STARTS, saved["start_xy"])
    np.testing.assert_array_equal(LAST, saved["final_xy"])


def test_collects_trains_and_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("HPACML_TRUST_FILE", str(tmp_path / "trusted"))
    monkeypatch.setitem(FRAMES, "small", 100)
    some = experiment.videos()[:2]
    monkeypatch.setattr(experiment, "videos", lambda: some)
    monkeypatch.setattr(experiment, "LAST", LAST[:2])
    setup, database = Setup(), tmp_path / "data.h5"
    EXPERIMENT.collect(setup, database)
    hpacml.flush()
    where = experiment.centres(100)
    with hpacml.open_database(database) as collected:
        x, y = collected["particlefilter"].dataset(rows="points")[:]
    assert (x.dtype, x.shape, y.dtype) == (torch.uint8, (100, 128, 128, 1), torch.float32)
    np.testing.assert_array_equal(y, where)
    centre = y[7].int().tolist()
    assert x[7, centre[1], centre[0], 0] > 164
    network = next(iter(EXPERIMENT.networks.values()))
    settings = {**EXPERIMENT.settings(setup), "network": network, "epochs": 2, "pictures": False}
    trained = hpacml.train(database, model=EXPERIMENT.factory, config=settings, out=tmp_path / "m.pt2", quiet=True)
    run, true = EXPERIMENT.program(setup), EXPERIMENT.truth(setup)
    accurate, found = run(), run(str(trained.path))
    for each in (accurate, found):
        assert (each.shape, each.dtype) == ((2, 2), np.float32)
    assert abs(accurate - true).max() < 3
    net = torch.export.load(trained.path).module()
    expected = [net(torch.from_numpy(video)[..., None].float())[-1].detach().numpy() for video, _ in some]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-2)
    errors = {name: abs(each() - true).max() for name, each in EXPERIMENT.baselines(setup, database).items()}
    assert list(errors) == ["rounding filter", "bright pixels"]
    assert errors["bright pixels"] < 0.1 < abs(found - true).max()
    (picture,) = EXPERIMENT.figures(setup, tmp_path, {"m": trained.path})
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert errors["rounding filter"] < abs(accurate - true).max()


def test_the_truth_has_a_position_for_each_frame():
    video, _ = app.make_video(60, 66, 1)
    with pytest.raises(ValueError, match=r"the truth has the shape \(23, 2\), and 24 frames \(24, 2\)"):
        app.track(video, truth=np.zeros((23, 2), np.float32))


def test_a_gpu_tracks_as_the_cpu_does(monkeypatch):
    video = app.make_video(60, 66, 1)[0][:3].copy()
    expected = app.track(video, particles=40)
    with on_gpu(monkeypatch) as machine:
        found = np.zeros((2, 3), np.float32)
        there = [machine.there(each) for each in (video, *found, *np.zeros((2, 3), np.float32))]
        app.particle_filter(*there, 40, app.AFTER_FIRST_VIDEO, False, False, False, None, None)
    np.testing.assert_allclose(found.T[1:], expected, rtol=1e-5)


def test_code_for_gpus_is_assembled(tmp_path):
    assembled(app.particle_filter, tmp_path)


def test_without_a_gpu_it_says_so(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(experiment, "videos", lambda: [(np.zeros((24, 128, 128), np.uint8), 1)])
    with pytest.raises(hpacml.DeviceError, match=r"the device is 'cuda', and .*: choose 'cpu'"):
        EXPERIMENT.program(Setup(device="cuda"))
