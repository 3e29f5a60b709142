"""Counts of what happens while clips are made."""

from collections import Counter

from utils.cutting import add_motion
from utils.errors import UserError
from utils.frames import warn_left_out
from utils.names import printable
from utils.survey import shares


class Refused(UserError):
    """A file cannot be used, and --strict asks to stop at it."""


class Tally:
    """Sums up outcomes of tasks; names each file left out once, or, if strict, stops at it."""

    def __init__(self, strict):
        self.strict = strict
        self.skipped, self.motion, self.counts = {}, {}, Counter()
        self.drawn = set()  # numbers of the blocks that clips are from

    def skip(self, path, reason):
        """Leave out a file, with a warning the first time; Refused if strict."""
        name = printable(path)
        if self.strict:
            raise Refused(f"{name}: {reason}; repair, restore or remove it, or leave out --strict")
        if name not in self.skipped:
            self.skipped[name] = reason
            warn_left_out(path, reason)

    def add(self, outcome):
        """Count the Outcome of a task."""
        for path, reason in outcome.skipped.items():
            self.skip(path, reason)
        for name in ("decoded", "exempt", "copies", "cut_windows"):
            self.counts[name] += getattr(outcome, name)
        for number, exempt, moving, _ in outcome.drawn:
            if exempt + moving:
                self.drawn.add(number)
        add_motion(self.motion, outcome.motion)

    def left_out(self, still):
        """Yield lines that say what was left out, and in which folders little moves.

        still: the share of moving crops below which a folder is named.
        """
        if self.counts["cut_windows"]:
            yield f"left out: {self.counts['cut_windows']} windows with a scene cut"
        if self.counts["copies"]:
            yield f"left out: {self.counts['copies']} windows that begin with a near copy"
        for name, moving in sorted(shares(self.motion).items()):
            if moving < still:
                yield f"little motion: {name}, {moving:.2%} of its crops move"
        for reason, count in Counter(self.skipped.values()).most_common():
            yield f"left out: {count} x {reason}"
