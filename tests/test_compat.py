"""Each patch of Chainer: what it is for fails without it, works with it."""

import multiprocessing
import pickle
import re
import textwrap

import numpy as np
import pytest

from tests.processes import run_python
from utils.stack import F, L, chainer

# Loads compat.py by itself, so that one patch can be left out before Chainer is imported.
LOAD = """
import importlib.util, sys, warnings
warnings.simplefilter("error")
spec = importlib.util.spec_from_file_location("compat", "utils/stack/compat.py")
compat = importlib.util.module_from_spec(spec)
spec.loader.exec_module(compat)
"""
LEAVE_OUT = """
for stage in ("BEFORE_IMPORT", "AFTER_IMPORT"):
    patches = [patch for patch in getattr(compat, stage) if patch.__name__ != {patch!r}]
    setattr(compat, stage, patches)
"""
IMPORT = """
chainer = compat.patched_chainer()
import numpy as np
from chainer import functions as F
"""

# patch: (what needs it, how that fails without)
CASES = {
    "skip_environment_check": ("", "distutils|pkg_resources"),
    "restore_numpy_names": (
        "F.resize_images(np.zeros((1, 1, 2, 2), 'f'), (4, 4))",
        "AttributeError: .*np.sctypes",
    ),
    "stand_in_for_pkg_resources": (
        """
        import sys
        sys.modules.setdefault("pkg_resources", None)  # gone, as under setuptools 82
        import chainer.gradient_check
        """,
        "ModuleNotFoundError: .*pkg_resources",
    ),
    "patch_categorical": (
        """
        likely = chainer.distributions.Categorical(np.array([[0.25, 0.75], [0.5, 0.5]], "f"))
        found = likely.log_prob(np.array([1, 0])).array
        np.testing.assert_allclose(np.exp(found), [0.75, 0.5], rtol=1e-6)
        """,
        "TypeError",
    ),
    "patch_pad_sequence": (
        """
        padded = F.pad_sequence([np.ones(2, "u1"), np.ones(1, "u1")], padding=-1)
        assert padded.array.tolist() == [[1, 1], [1, 255]]
        """,
        "OverflowError",
    ),
    "patch_deconvolution": (
        """
        x, w = np.ones((1, 1, 2, 2), "f"), chainer.Variable(np.ones((1, 1, 2, 2), "f"))
        F.sum(F.deconvolution_2d(x, w)).backward()
        assert (w.grad == 4).all()
        """,
        "ValueError",
    ),
    "patch_multiprocess_iterator": (
        """
        batches = chainer.iterators.MultiprocessIterator(
            list(range(4)), 2, n_processes=1, shuffle=False
        )
        try:
            assert [next(batches), next(batches)] == [[0, 1], [2, 3]]
        finally:
            batches.finalize()
        """,
        "DeprecationWarning: setDaemon",
    ),
}


@pytest.mark.parametrize("patch", CASES)
def test_fails_without_the_patch(patch):
    need, failure = CASES[patch]
    run = run_python("-c", LOAD + LEAVE_OUT.format(patch=patch) + IMPORT + textwrap.dedent(need))
    assert run.returncode != 0
    assert re.search(failure, run.stderr), run.stderr


@pytest.mark.parametrize("patch", CASES)
def test_works_with_the_patch(patch):
    exec(textwrap.dedent(CASES[patch][0]), {"chainer": chainer, "np": np, "F": F})


FAILED_IMPORT = """
try:
    import chainer
except AttributeError:
    assert "chainer.backends.cuda" in sys.modules
else:
    raise SystemExit("Chainer needs no mending here")
"""


def test_chainer_is_complete_after_a_failed_import():
    whole = "\nassert chainer.backends.cuda.chainer is chainer"
    patched = run_python("-c", LOAD + FAILED_IMPORT + IMPORT + whole)
    assert patched.returncode == 0, patched.stderr
    without = LEAVE_OUT.format(patch="forget_half_import")
    unpatched = run_python("-c", LOAD + FAILED_IMPORT + without + IMPORT + whole)
    assert unpatched.returncode != 0


def test_importing_is_silent():
    run = run_python("-c", "from utils.stack import F, L, chainer")
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


# A CuPy that only says that it was imported, then warns as the real one does (_environment.py).
CUPY = """
import warnings
print("imported")
for library in ("cudnn", "nccl"):
    warnings.warn(f"\\n{library} library could not be loaded.\\n\\nReason: ...")
"""


@pytest.fixture
def cupy(tmp_path, monkeypatch):
    """A stand-in for CuPy on the path of the interpreters that this test starts."""
    (tmp_path / "cupy.py").write_text(CUPY)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


@pytest.mark.parametrize("driver", [True, False])
def test_cupy_is_imported_only_with_a_driver_in_silence(cupy, driver):
    say = "print(chainer.backends.cuda._resolution_error)"
    run = run_python("-c", f"{LOAD}compat.has_nvidia_driver = lambda: {driver}\n{IMPORT}{say}")
    assert (run.returncode, run.stderr) == (0, "")
    assert ("imported" in run.stdout) == driver
    assert ("no NVIDIA driver" in run.stdout) != driver


def test_cupy_can_be_imported_after_chainer(cupy):
    run = run_python("-c", "import utils.stack, cupy")
    assert (run.returncode, run.stdout) == (0, "imported\n")


class Payload:
    """Whoever unpickles this prints a word."""

    def __reduce__(self):
        return print, ("unpickled",)


def write_member(path):
    np.savez(path, W=np.asarray(Payload(), dtype=object), b=np.zeros(3, "f"))


def write_whole_file(path):
    path.write_bytes(pickle.dumps(Payload()))


@pytest.mark.parametrize("write", [write_member, write_whole_file])
def test_load_npz_unpickles_nothing(write, tmp_path):
    write(tmp_path / "weights.npz")
    load = f"""
from chainer import links as L
chainer.serializers.load_npz({str(tmp_path / "weights.npz")!r}, L.Linear(2, 3))
"""
    unpatched = run_python("-c", LOAD + LEAVE_OUT.format(patch="refuse_pickles") + IMPORT + load)
    assert unpatched.stdout == "unpickled\n"
    patched = run_python("-c", LOAD + IMPORT + load)
    assert patched.stdout == ""
    assert "ValueError" in patched.stderr


def test_uninitialised_parameters_load(tmp_path):
    saved, loaded = L.Linear(None, 3, initial_bias=7), L.Linear(None, 3)
    chainer.serializers.save_npz(tmp_path / "weights.npz", saved)
    chainer.serializers.load_npz(tmp_path / "weights.npz", loaded)
    assert loaded.W.array is None
    assert (loaded.b.array == 7).all()


def test_a_wrong_shape_is_still_refused(tmp_path):
    chainer.serializers.save_npz(tmp_path / "weights.npz", L.Linear(2, 3))
    with pytest.raises(ValueError, match="broadcast"):
        chainer.serializers.load_npz(tmp_path / "weights.npz", L.Linear(5, 3))


class Regression(chainer.Chain):
    """A network with the layers that the project's models are made of."""

    def __init__(self):
        super().__init__()
        with self.init_scope():
            self.narrow = L.Convolution2D(None, 4, 3, stride=2, pad=1)
            self.norm = L.BatchNormalization(4)
            self.widen = L.Deconvolution2D(4, 1, 4, stride=2, pad=1)

    def forward(self, x):
        hidden = F.dropout(F.leaky_relu(self.norm(self.narrow(x))))
        y = F.tanh(self.widen(hidden)) + F.resize_images(F.average_pooling_2d(x, 2), x.shape[2:])
        loss = F.mean_absolute_error(y, x) + F.mean(F.softplus(-y))
        chainer.report({"loss": loss}, self)
        return loss


def trainer_of(model, out, iterations):
    """A small Trainer with the extensions that a run of the project uses."""
    extensions = chainer.training.extensions
    frames = np.random.default_rng(0).random((16, 1, 8, 8), np.float32)
    optimizer = chainer.optimizers.Adam().setup(model)
    optimizer.add_hook(chainer.optimizer_hooks.GradientClipping(1))
    batches = chainer.iterators.SerialIterator(frames, 4, shuffle=False)
    updater = chainer.training.StandardUpdater(batches, optimizer)
    trainer = chainer.training.Trainer(updater, (iterations, "iteration"), out)
    once = chainer.iterators.SerialIterator(frames, 4, repeat=False, shuffle=False)
    trainer.extend(extensions.Evaluator(once, model), trigger=(2, "iteration"))
    trainer.extend(extensions.LogReport(trigger=(2, "iteration")))
    trainer.extend(extensions.snapshot(n_retains=1, autoload=True), trigger=(2, "iteration"))
    return trainer


def test_training_with_resuming_is_silent(tmp_path, capfd):
    trainer_of(Regression(), tmp_path, 2).run()
    trainer = trainer_of(Regression(), tmp_path, 4)
    trainer.run()
    entries = trainer.get_extension("LogReport").log
    assert [entry["iteration"] for entry in entries] == [2, 4]
    assert capfd.readouterr() == ("", "")


def test_weights_are_float32_whatever_chainer_is_told():
    code = "from utils.stack import L; print(L.Linear(2, 2).W.dtype)"
    done = run_python("-c", code, environment={"CHAINER_DTYPE": "mixed16"})
    assert done.stdout == "float32\n"


WORKERS = """
import multiprocessing
multiprocessing.set_start_method({method!r})
from utils.stack import chainer
with chainer.iterators.MultiprocessIterator(list(range(4)), 2, n_processes=2, shuffle=False) as it:
    assert [next(it), next(it)] == [[0, 1], [2, 3]]
"""


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_worker_processes_have_the_patches_however_they_start(method):
    run = run_python("-c", WORKERS.format(method=method), timeout=60)
    assert run.returncode == 0, run.stderr
