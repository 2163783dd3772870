"""What is said of a stage on the command line: what cannot be is refused in a sentence that has what was found."""

from __future__ import annotations

import pytest

from corpus.errors import RecipeError
from trainer.settings import Stage, settings


@pytest.mark.parametrize(
    "said",
    [
        "epochs=1e9", "epochs=.inf", "epochs=nan", "epochs=0", "steps=999999999999999999999", "steps=2.5", "steps=true", "max_length=1e400",
        "max_length=1000000000000", "learning_rate=1e400", "learning_rate=-1", "learning_rate=[1, 2]", "weight_decay=.inf",
        "max_grad_norm=nan", "beta1=1", "beta2=1", "dropout=1", "lora.rank=0", "lora.dropout=1", "eval_rows=0", "keep=0", "workers=-1",
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_its_place_and_value(said: str) -> None:
    key, _, value = said.partition("=")
    with pytest.raises(RecipeError, match=rf"^recipe x: training\.sft\.{key}: .*, found '") as refused:
        settings(Stage.SFT, {}, (said,), where="recipe x")
    shown = str(refused.value).rpartition("found ")[2].strip("'")
    assert shown.lower() in (value, str(float(value)) if value[0] in "1n" else value.lstrip("."))


def test_a_pattern_without_quotes_is_told_to_have_them() -> None:
    with pytest.raises(RecipeError, match="quotes"):
        settings(Stage.SFT, {}, ("freeze=*.bias",), where="x")
    assert settings(Stage.SFT, {}, ('freeze="*.bias"',), where="x").freeze == ("*.bias",)
