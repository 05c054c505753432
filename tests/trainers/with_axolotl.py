"""Read a configuration as ``axolotl preprocess`` does."""

from __future__ import annotations

import json
import sys

import yaml
from axolotl.loaders import load_tokenizer
from axolotl.utils.config import normalize_config, validate_config
from axolotl.utils.data.sft import prepare_datasets
from axolotl.utils.dict import DictDefault


def main(config: str) -> None:
    with open(config) as file:
        settings = yaml.safe_load(file)
    cfg = validate_config(DictDefault(settings | {"bf16": False, "dataset_num_proc": 1}))
    normalize_config(cfg)
    rows, *_ = prepare_datasets(cfg, load_tokenizer(cfg))
    for row in rows:
        print(json.dumps({"config": config, "read": [row["input_ids"], row["labels"]]}))


for argument in sys.argv[1:]:
    main(argument)
