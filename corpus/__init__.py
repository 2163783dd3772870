"""Yuliao's corpus half: from the publishers' own files to training sets that can be trusted.

Read :mod:`corpus.pipeline` first: it is the whole way of a row, stage by stage.
"""

__version__ = "0.1.0"
