"""How the scripts explain their options."""

import argparse


class Help(argparse.ArgumentDefaultsHelpFormatter):
    """Tells the default of each option that has one to tell."""

    def _get_help_string(self, action):
        silent = action.default is None or action.default is False
        return action.help if silent else super()._get_help_string(action)
