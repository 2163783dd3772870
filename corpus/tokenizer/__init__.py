"""Tokenizers: trained on the `tokenizer` split in bounded memory, measured on text that they have not seen, lossless.

The straight line is :func:`corpus.tokenizer.train.train`: texts of a split (`text`) go to one of the kinds (`bpe`, `words`, `spm`), which
gives a :class:`corpus.tokenizer.spec.Trained`; `folder` writes it as `transformers.AutoTokenizer` reads it, and `report` measures it beside
others. `extend` adds pieces to somebody else's tokenizer, `encode` turns splits into token ids.

No kind normalises: what is encoded is decoded to the byte. Cleaning text is done in `corpus.text`, where a ledger tells of it, and never
where nobody looks.
"""
