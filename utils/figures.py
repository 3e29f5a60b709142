"""What is needed of Matplotlib, which draws to files alone here.

Notebooks ask, by an environment variable, for a backend that need not be installed, at which the
import of Matplotlib fails. Where the home directory cannot be written to, it warns that its cache
will not last.
"""

import logging
import os

logging.getLogger("matplotlib").setLevel(logging.ERROR)
asked = os.environ.pop("MPLBACKEND", None)
from matplotlib import cycler, rcParams  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.ticker import MaxNLocator  # noqa: E402

if asked is not None:
    os.environ["MPLBACKEND"] = asked

__all__ = ["Figure", "MaxNLocator", "cycler", "rcParams"]
