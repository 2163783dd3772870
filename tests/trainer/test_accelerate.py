"""Every launch configuration is one that accelerate takes, and asks for what its name says."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "recipes" / "accelerate"
WANTED: dict[str, tuple[str, dict[str, Any]]] = {
    "ddp": ("MULTI_GPU", {}),
    "fsdp": ("FSDP", {"fsdp_version": 2, "fsdp_reshard_after_forward": True, "fsdp_state_dict_type": "FULL_STATE_DICT"}),
    "zero1": ("DEEPSPEED", {"zero_stage": 1, "offload_optimizer_device": "none"}),
    "zero2": ("DEEPSPEED", {"zero_stage": 2, "offload_optimizer_device": "none"}),
    "zero3": ("DEEPSPEED", {"zero_stage": 3, "offload_param_device": "none", "zero3_save_16bit_model": True}),
    "zero3-offload": ("DEEPSPEED", {"zero_stage": 3, "offload_optimizer_device": "cpu", "offload_param_device": "cpu"}),
}


def test_none_is_forgotten() -> None:
    assert {p.stem for p in FOLDER.glob("*.yaml")} == set(WANTED)


@pytest.mark.parametrize("name", WANTED)
def test_accelerate_takes_it(name: str) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    kind, told = WANTED[name]
    held = load_config_from_file(str(FOLDER / f"{name}.yaml"))
    assert held.distributed_type.value == kind
    assert held.mixed_precision is None
    # Not said: accelerate then refuses to run without --num_processes.
    assert held.num_processes == -1
    assert told.items() <= {**held.fsdp_config, **held.deepspeed_config}.items()


@pytest.mark.parametrize("name", WANTED)
def test_the_launcher_makes_processes_of_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the command line to the environment of the processes, without starting them."""
    from accelerate.commands import launch
    from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env

    path = str(FOLDER / f"{name}.yaml")
    parser = launch.launch_command_parser()
    with pytest.raises(ValueError, match="num_processes"):
        launch._validate_launch_command(parser.parse_args(["--config_file", path, "-m", "trainer", "sft"]))
    asked = ["--config_file", path, "--num_processes", "2", "--main_process_port", "0", "-m", "trainer", "sft"]
    args, held, _ = launch._validate_launch_command(parser.parse_args(asked))
    assert (args.num_processes, args.module, args.training_script, args.training_script_args) == (2, True, "trainer", ["sft"])
    kind, told = WANTED[name]
    if kind == "DEEPSPEED":
        args.deepspeed_fields_from_accelerate_config = ",".join(held.deepspeed_config)
        _, env = prepare_deepspeed_cmd_env(args)
        assert env["ACCELERATE_DEEPSPEED_ZERO_STAGE"] == str(told["zero_stage"])
        return
    env = prepare_multi_gpu_env(args)
    if kind == "FSDP":
        from accelerate import FullyShardedDataParallelPlugin

        for key, value in env.items():
            if key.startswith("FSDP_") and os.environ.get(key) != value:
                monkeypatch.setenv(key, value)
        plugin = FullyShardedDataParallelPlugin()
        assert plugin.fsdp_version == 2
        assert plugin.reshard_after_forward is True
        assert plugin.state_dict_type.name == "FULL_STATE_DICT"
