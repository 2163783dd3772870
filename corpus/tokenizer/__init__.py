"""Tokenizers: trained on the `tokenizer` split in bounded memory, measured on text that they have not seen, lossless.

No kind normalises: what is encoded is decoded to the byte. Cleaning text is done in `corpus.text`, where a ledger tells of it, and never
where nobody looks.

A **piece** is what text is cut into before anything is learnt; no token reaches over the edge of one. (sentencepiece calls tokens pieces,
and pieces words: so do the files that deal with it, `spm*`.) A **token** is what has an id. A **word** is one of a language: what tokens
are counted against, and what jieba-words keeps together. A **symbol** is a text that the user wants to be one token; to the learner of
merges, the number of a token.

In the order in which to read them:

- `commands`: what `corpus tokenizer` does. `train` is its straight line: `text` (the split; what is held out) → a kind → `folder`;
- what they share: `spec` (what is asked for and what training gives), `specials`, `spelling` (of bytes and spaces), `extra`;
- bpe: `pattern` and `pieces` (the same, compiled) cut text, `counts` counts pieces, `merges` learns from these, `bpe`; and `words`;
- sentencepiece: `spm`, `spm_seeds` (what unigram begins with), `spm_format` (its file), `spm_model` (its models as `tokenizers` runs them);
- measuring: `load` (any tokenizer; `ranks`: tiktoken's files), `text_file`, `sizes`, `probes`, `vocabulary`, `measure`, `report`, `plot`;
- extending: `extend_base` (what there is), `extend_pieces` (its tokens as pieces), `extend`, `extended` (its files), `extend_gain`;
- encoding splits: `encode_run`, `encode` (any tokenizer), `encoded` (what is written); compiled: `fast`, `fast_kernels`, `fast_spm`,
  `published` (pre-tokenizers of others), `composed` (NFC);
- `library`: what the `tokenizers` library refuses, as the user's error.
"""
