"""Times in the names of pictures."""

import calendar
import re
import time

from utils.frames import DIGITS

# A date and a time that are several numbers, as in 20150515_1545 or 2015-05-15T15-45-00.
DATE = re.compile(r"(?<!\d)\d{4}([-_]?)\d\d\1\d\d[-_T]\d\d[-_]?\d\d(?:[-_]?\d\d)?(?!\d)")
CLOCKS = ("%Y%m%d%H%M%S", "%Y%m%d%H%M", "%Y%j%H%M", "%y%m%d%H%M", "%y%j%H%M", "%Y%m%d", "%y%m%d")
CLOCKS += ("%H%M%S", "%H%M")  # of one day


def read_times(names):
    """The times of pictures, by the first number that differs in their names; [] if none does.

    In seconds, or those numbers as they are if they are no times.
    """
    joined = [DATE.sub(lambda found: re.sub(r"\D", "", found[0]), name) for name in names]
    numbers = list(zip(*map(DIGITS.split, joined), strict=False))[1::2]
    texts = next((found for found in numbers if len(set(found)) > 1), ())
    for clock in CLOCKS:
        try:
            times = [time.strptime(text, clock) for text in texts]
        except ValueError:
            continue
        # Else numbers of fewer digits would do.
        if all(time.strftime(clock, t) == text for t, text in zip(times, texts, strict=True)):
            return list(map(calendar.timegm, times))
    return list(map(int, texts))
