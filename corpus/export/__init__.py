"""Splits in the formats that other trainers read.

The split files load as they are wherever parquet is read (`datasets`, TRL); what is here is for trainers with a format of their own.
:mod:`corpus.export.turns` looks at conversations, :mod:`corpus.export.formats` turns columns into columns, :mod:`corpus.export.write` puts
them into files, :mod:`corpus.export.terms` says under which terms they are, and :mod:`corpus.export.run` is the line through all of it.
"""
