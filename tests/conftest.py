"""What holds for all tests."""

import signal

# A shell lets what it starts in the background ignore Ctrl-C, also the programs that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
