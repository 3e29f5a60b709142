"""Real frames, films and data sets beside the checkout, where it has any."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
PACMAN = SHARED / "pacman"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="no ../shared/data")
