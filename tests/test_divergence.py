"""Numbers that are not finite stop a step on the CPU before it moves anything."""

import types

import numpy as np
import pytest

from utils.divergence import FiniteCheck
from utils.errors import Diverged
from utils.stack import L, chainer


@pytest.mark.parametrize(
    "loss, slope, told",
    [
        (np.inf, 4, "gen/l2 inf, gradient of gen 5"),
        (0.5, np.nan, "gen/l2 0.5, gradient of gen nan"),
        (0.5, 4, None),
    ],
)
def test_a_bad_loss_or_gradient_is_told_with_all_others_and_moves_nothing(loss, slope, told):
    layer = L.Linear(2, 1, nobias=True, initialW=1)
    optimizer = chainer.optimizers.SGD(1).setup(layer)
    FiniteCheck(types.SimpleNamespace(get_all_optimizers=lambda: {"gen": optimizer}, iteration=6))
    layer.W.grad = np.float32([[3, slope]])
    with chainer.Reporter().scope({"gen/l2": np.float32(loss)}):
        if told:
            with pytest.raises(Diverged, match=f"^iteration 7 diverged: {told}$"):
                optimizer.update()
        else:
            optimizer.update()
    assert layer.W.array.tolist() == ([[1, 1]] if told else [[-2, -3]])
