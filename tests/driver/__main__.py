"""Runs a script, or a module after -m, on the driver: see __init__.py."""

import argparse
import itertools
import os
import runpy
import sys

from tests import driver


def parse(argv):
    """The driver's own options, which begin with two dashes; the command after them."""
    own = list(itertools.takewhile(lambda word: word.startswith("--"), argv))
    prog = "python -m tests.driver"
    usage = f"{prog} [--cudnn] [--order=SEED] (SCRIPT | -m MODULE) ..."
    parser = argparse.ArgumentParser(prog, usage, __doc__)
    parser.add_argument("--cudnn", action="store_true", help="act cuDNN, too")
    parser.add_argument("--order", type=int, metavar="SEED", help="do work in an order by chance")
    args, command = parser.parse_args(own), argv[len(own) :]
    if not command:
        parser.error("no SCRIPT, no -m MODULE to run")
    return args, command


def main():
    args, command = parse(sys.argv[1:])
    if driver.library() is None:  # the loader reads its paths but once
        again = [sys.executable, "-m", "tests.driver", *sys.argv[1:]]
        os.execve(sys.executable, again, driver.environment())
    driver.take_over()
    if args.order is not None:
        driver.library().driver_order(args.order, 10)
    if args.cudnn:
        from tests.driver import cudnn

        cudnn.install()
    else:
        os.environ["CHAINER_CUDNN"] = "0"  # a real one would look for a real GPU
    if command[0] == "-m":
        sys.argv = command[1:]
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = command
        sys.path.insert(0, os.path.dirname(os.path.abspath(sys.argv[0])))
        runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
