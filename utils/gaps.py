"""Gaps in a series of numbered pictures, where some were removed or never arrived."""

import itertools

from utils.frames import DIGITS

FEWEST = 5  # steps between numbers, of which one may be unusual
REGULAR = 0.9  # share of many steps that must be the usual one


def fill_gaps(names):
    """Names of pictures in natural order, with one more in the place of each that is missing.

    That is its own name, or "frame20.png to frame45.png" for each of several in a row: no files.
    Names that are not numbered evenly, but for gaps, come back as they are, as do those with more
    missing than there.
    """
    numbers = read_numbers(names)
    steps = [after - before for before, after in itertools.pairwise(numbers)]
    step = min(steps, default=0)
    odd = len(steps) - steps.count(step)
    even = len(steps) >= FEWEST and odd <= max(1, (1 - REGULAR) * len(steps))
    if step < 1 or not even or any(found % step for found in steps):
        return names
    missing = (numbers[-1] - numbers[0]) // step + 1 - len(names)
    if not 0 < missing <= len(names):
        return names
    filled = [names[0]]
    for name, number, found in zip(names[1:], numbers[1:], steps, strict=True):
        if found > step:
            first, last = number - found + step, number - step
            ends = dict.fromkeys(rename(names[0], number) for number in (first, last))
            filled += [" to ".join(ends)] * (found // step - 1)
        filled.append(name)
    return tuple(filled)


def read_numbers(names):
    """The last number in each name; none at all if the names differ in more than that."""
    if not names or len(DIGITS.split(names[0])) < 3:
        return []
    head, number, tail = divide(names[0])
    numbers = []
    for name in names:
        number = name[len(head) : len(name) - len(tail)]
        if not (name.startswith(head) and name.endswith(tail) and number.isdecimal()):
            return []
        numbers.append(int(number))
    return numbers


def divide(name):
    """(what is before the last number in a name, the number, what is behind it), text."""
    *head, number, tail = DIGITS.split(name)
    return "".join(head), number, tail


def rename(first, number):
    """The name with this number in a series that begins with the name `first`."""
    head, shortest, tail = divide(first)  # with leading zeros all are of one length
    return f"{head}{number:0{len(shortest)}}{tail}"
