"""Framing: the bytes of an upstream file → its records, in order, with nothing lost.

This room knows containers and encodings, not data sets. :func:`open_file` opens a file whatever it is (plain, gzip, bzip2, xz,
zstd; a tar or zip archive yields its members), finds the encoding, detects the container by content (the ending tells nothing: `.json` is
usually JSON lines), and yields :class:`~corpus.sources.base.Frame` objects of bounded size, so that memory does not depend on the file's.

Formats, by the name that a source declares:

==================  ================================================================================================
records             dicts, from whichever container the content shows: JSON lines, a JSON array, concatenated or
                    pretty-printed JSON objects, CSV or TSV with a header, parquet
object              the whole file is one JSON object and one record (MOSS conversations)
keyed               one JSON object whose members are the records: value = {"_key": key, **member} (PubMedQA)
instances           one JSON object {"type": …, "instances": […]}: value = {"_type": type, **instance} (LMFlow)
rows                CSV or TSV without a header: lists of str
lines               text, one record per non-blank line: str
paragraphs          text, one record per run of non-blank lines: str
mediawiki           MediaWiki XML export: dict of title, ns, id, redirect, revision, timestamp, model, format, text, lang, dbname;
                    the header of a frame is the namespaces of the wiki: ((key, name), …)
wikiextractor       `<doc id= url= title=>` blocks or JSON lines: dict of id, url, title, text
==================  ================================================================================================

A source may also bring a framer of its own: a function of frames to frames, which folds or splits the records of the format that its
attribute `base` names ("records" if it has none).

Offsets and lengths count bytes of the decompressed file as it is in UTF-8: UTF-16 and UTF-32 are transcoded first, and so is GB18030
where the container is a JSON document or XML. Lines, JSON lines and CSV are read in GB18030 as they are. A MediaWiki dump in bzip2
has numbers and offsets of its own: see :mod:`corpus.sources.framing.multistream`.
"""

from __future__ import annotations

from corpus.sources.framing.multistream import stream_of
from corpus.sources.framing.opening import BZIP2_XML, FORMATS, Opened, Sniffed, open_file, sniff
from corpus.sources.framing.stream import Limits, Part

__all__ = ["BZIP2_XML", "FORMATS", "Limits", "Opened", "Part", "Sniffed", "open_file", "sniff", "stream_of"]
