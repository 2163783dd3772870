"""`python -m trainer`, which is what launchers of several processes call."""

from trainer.cli import main

main()
