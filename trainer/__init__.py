"""Yuliao's trainer: chat models from the splits that `corpus` made.

A lean layer over transformers, accelerate, peft and TRL. Own code is where the libraries have nothing, or are wrong: a reader of token ids
that can begin at any row, a loss over supervised positions alone, interrupts and checkpoints that lose nothing, and probes that look before
hours are spent. Files in reading order:

    settings      what a recipe says of a stage, validated
    registry      names of models, and what stands behind them (recipes/models.yaml)
    vocabulary    the tokenizer of a run: the recipe's, or a published one with the template's marks
    shapes        of models that are trained from scratch
    models        built from scratch, or loaded
    freezing      weights that stay
    adapters      low-rank adapters, and merging them
    tokens        splits as token ids that are mapped into memory
    samples       rows of ids → what one forward pass reads and learns of them: cut, dropped, counted
    order         the order of samples: blocks, windows, micro-batches; from (seed, epoch) alone
    loader        micro-batches as tensors, from any position on
    losses        the loss over supervised positions
    probe         labels and isolation, looked at before training
    folder        a run on disk: manifest, metrics, complete checkpoints
    callbacks     interrupt, metrics, plots
    prepare       from what was asked to what a run needs; no weights yet
    resolved      recipe.json, and whether a folder's run is the one that is asked for
    assemble      the model of a stage, with its loss, frozen parts, adapters; its batches
    hf            transformers' and TRL's trainers; the only file that imports trl
    stages/       pretrain, instruct and sft, from settings to a finished run
    plan, inspect, merge, chat

The command line is `trainer` (`cli.py`); importing this package, its help and its plans of nothing cost no torch.
"""
