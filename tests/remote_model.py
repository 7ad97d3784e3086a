"""A tiny model directory with Python code of its own, shaped like DeepSeek-OCR's first version.

Its parts are named as there (`sam_model`, `vision_model`, `projector`) and its forward takes the same arguments; what
is inside is as small as it can be. Importing its code leaves a file behind, so that a test can tell whether it ran.
"""

from __future__ import annotations

import json
from pathlib import Path

from tests.tiny_models import PAST, TEXT, write_tokenizer

CODE = """
from pathlib import Path

import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, LlamaModel

Path({trace!r}).touch()
{extra}


class DeepseekOCRConfig(LlamaConfig):
    model_type = "deepseek_vl_v2"


class Clip(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.layer = nn.Linear(size, size)

    def forward(self, pixels, features):
        return self.layer(features)


class DeepseekOCRModel(LlamaModel):
    config_class = DeepseekOCRConfig

    def __init__(self, config):
        super().__init__(config)
        self.sam_model = nn.Conv2d(3, 16, kernel_size=64, stride=64)
        self.vision_model = Clip(16)
        self.projector = nn.Linear(16, config.hidden_size)
        self.image_newline = nn.Parameter(torch.zeros(config.hidden_size))
        self.view_seperator = nn.Parameter(torch.zeros(config.hidden_size))

    def encode(self, pixels):
        features = self.sam_model(pixels).flatten(2).transpose(1, 2)
        return self.projector(self.vision_model(pixels, features))

    def rows(self, grid):
        newline = self.image_newline.expand(grid.shape[0], 1, -1)
        return torch.cat([grid, newline], dim=1).flatten(0, 1)

    def forward(
        self, input_ids=None, inputs_embeds=None, images=None, images_seq_mask=None, images_spatial_crop=None, **kwargs
    ):
        embeds = self.get_input_embeddings()(input_ids)
        if input_ids.shape[1] != 1 and torch.sum(images[0][1]).item() != 0:
            for row, ((tiles, view), (columns, lines)) in enumerate(zip(images, images_spatial_crop.tolist())):
                parts = []
                if torch.sum(tiles).item() != 0:
                    local = self.encode(tiles)
                    side = int(local.shape[1] ** 0.5)
                    local = local.view(lines, columns, side, side, -1).transpose(1, 2)
                    parts.append(self.rows(local.reshape(lines * side, columns * side, -1)))
                whole = self.encode(view)
                side = int(whole.shape[1] ** 0.5)
                parts += [self.rows(whole.view(side, side, -1)), self.view_seperator[None]]
                features = torch.cat(parts)
                assert features.shape[0] == images_seq_mask[row].sum()
                embeds[row] = embeds[row].masked_scatter(images_seq_mask[row][:, None], features)
        return super().forward(inputs_embeds=embeds, **kwargs)


class DeepseekOCRForCausalLM(LlamaForCausalLM):
    config_class = DeepseekOCRConfig

    def __init__(self, config):
        super().__init__(config)
        self.model = DeepseekOCRModel(config)
        self.post_init()

    def forward(
        self, input_ids=None, attention_mask=None, position_ids=None, {past}=None, use_cache=None,
        images=None, images_seq_mask=None, images_spatial_crop=None, return_dict=None,
    ):
        return super().forward(
            input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids,
            {past}={past}, use_cache=use_cache, images=images,
            images_seq_mask=images_seq_mask, images_spatial_crop=images_spatial_crop,
        )
"""


def write_remote_model(directory: Path, *, trace: Path, extra: str = "") -> Path:
    """A directory for `model.path`; its code touches `trace` when it is imported and then runs the lines `extra`."""
    directory.mkdir(parents=True, exist_ok=True)
    config = {
        **TEXT["llama"],
        "model_type": "deepseek_vl_v2",
        "max_position_embeddings": 4096,
        "architectures": ["DeepseekOCRForCausalLM"],
        "auto_map": {
            "AutoConfig": "modeling_deepseekocr.DeepseekOCRConfig",
            "AutoModel": "modeling_deepseekocr.DeepseekOCRForCausalLM",
            "AutoModelForCausalLM": "modeling_deepseekocr.DeepseekOCRForCausalLM",
        },
    }
    (directory / "config.json").write_text(json.dumps(config, indent=2))
    (directory / "modeling_deepseekocr.py").write_text(CODE.format(trace=str(trace), extra=extra, past=PAST))
    write_tokenizer(directory, chat_template=None)
    return directory
