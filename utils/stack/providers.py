"""Other libraries' ways to compute what Chainer's function nodes compute."""

import functools
import logging

logger = logging.getLogger(__name__)
log_once = functools.cache(logger.log)


class Unsuitable(Exception):
    """Chainer's own code has to do it: a log level, the reason."""


def preferring(library, takes, compute, own):
    """The forward method of a node: compute(node, *inputs) where takes(inputs), else own.

    `own` computes also what `compute` finds Unsuitable, after a log line, which comes once.
    """

    @functools.wraps(own)
    def forward(self, inputs):
        if not takes(inputs):
            return own(self, inputs)
        try:
            result = compute(self, *inputs)
        except Unsuitable as obstacle:
            level, reason = obstacle.args
            log_once(level, f"Chainer's own code computes, not {library}: {reason}")
            return own(self, inputs)
        self.retain_inputs((0, 1))
        return (result,)

    return forward
