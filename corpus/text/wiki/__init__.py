"""The parts of the wikitext extractor (:mod:`corpus.text.wikitext`), one idea a file.

A page goes through them in this order: `blocks` (comments, references, formulas, programs), `templates` with `carriers`, `numbers` and
`variants` (everything between double braces and `-{…}-`), `tables`, `links`, `markup` (tags, quotes, entities), `variants` again (the
glossary of the page), `holes` (debris around what was dropped), `sections` (headings and lists).
"""
