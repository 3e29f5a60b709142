"""Gaps in a series of numbered pictures, where some were removed or never arrived."""

import itertools

from utils.frames import DIGITS
from utils.times import read_times

FEWEST = 5  # steps between numbers, of which one may be unusual
REGULAR = 0.9  # share of many steps that must be the usual one


def fill_gaps(names):
    """Names of pictures in natural order, with one more in the place of each that is missing.

    That is its own name, or "frame20.png to frame45.png" for each of several in a row: no files.
    Names that are not numbered evenly, but for gaps, come back as they are, as do those with more
    missing than there, and those of even times, such as 1555 and 1600.
    """
    parts = [DIGITS.split(name) for name in names]
    place = where_they_differ(parts)
    if place is None:
        return names
    numbers = [int(part[place]) for part in parts]
    steps = steps_between(numbers)
    step = min(steps, default=0)
    odd = len(steps) - steps.count(step)
    even = len(steps) >= FEWEST and odd <= max(1, (1 - REGULAR) * len(steps))
    if step < 1 or not even or any(found % step for found in steps):
        return names
    missing = (numbers[-1] - numbers[0]) // step + 1 - len(names)
    if not 0 < missing <= len(names) or len(set(steps_between(read_times(names)))) == 1:
        return names
    filled = [names[0]]
    for name, number, found in zip(names[1:], numbers[1:], steps, strict=True):
        if found > step:
            first, last = number - found + step, number - step
            ends = dict.fromkeys(rename(parts[0], place, number) for number in (first, last))
            filled += [" to ".join(ends)] * (found // step - 1)
        filled.append(name)
    return tuple(filled)


def steps_between(numbers):
    """The differences of successive numbers, a list."""
    return [after - before for before, after in itertools.pairwise(numbers)]


def where_they_differ(parts):
    """The index of the number that differs from name to name; None if more than one differs, or
    none, or anything else.

    parts: of each name: text, number, text and so on.
    """
    if len(set(map(len, parts))) != 1:
        return None
    differ = [k for k, found in enumerate(zip(*parts, strict=True)) if len(set(found)) > 1]
    return differ[0] if len(differ) == 1 and differ[0] % 2 else None


def rename(first, place, number):
    """The name with this number in a series that begins with the name of parts `first`."""
    width = len(first[place])  # with leading zeros all are of one length
    return "".join([*first[:place], f"{number:0{width}}", *first[place + 1 :]])
