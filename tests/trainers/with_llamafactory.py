"""Read a configuration as ``llamafactory-cli train`` does, up to the training."""

from __future__ import annotations

import json
import sys

import yaml
from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
from llamafactory.hparams import get_train_args
from transformers import AutoTokenizer


def main(config: str) -> None:
    with open(config) as file:
        settings = yaml.safe_load(file)
    settings.pop("warmup_ratio")  # the transformers that it names have it, later ones do not
    model, data, training, _, _ = get_train_args(
        settings | {"bf16": False, "use_cpu": True, "overwrite_cache": True}
    )
    tokenizer = AutoTokenizer.from_pretrained(model.model_name_or_path)
    template = get_template_and_fix_tokenizer(tokenizer, data)
    read = get_dataset(template, model, data, training, stage="sft", tokenizer=tokenizer)
    rows = read["train_dataset"]
    for row in rows:
        print(json.dumps({"config": config, "read": [row["input_ids"], row["labels"]]}))


for argument in sys.argv[1:]:
    main(argument)
