"""What a run leaves for people to look at: predictions, gallery, module times, memory, whatever the samples are."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from PIL import Image, ImageDraw
from tokenizers import Tokenizer, models, pre_tokenizers

from llm_perf_opt.records.hardware import HardwareState
from llm_perf_opt.records.predictions import ImageInfo, Prediction
from llm_perf_opt.records.workload import Instrumented, Workload
from tests.cli_process import llmperf, read_json

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("warm_commands")]

QUICK = ["measure.repeats=1", "measure.warmup=0", "infer.max_new_tokens=3"]


def odd_images(folder: Path) -> dict[str, str | None]:
    """Images that may be anything; file name → what is wrong with it, None for those that can be read."""
    folder.mkdir()
    page = Image.new("RGB", (300, 200), "white")
    ImageDraw.Draw(page).text((20, 20), "a page", fill="black")
    page.save(folder / "a_plain.png")
    page.convert("CMYK").save(folder / "b_cmyk.jpg")
    page.convert("L").convert("I;16").save(folder / "c_deep.png")
    page.save(folder / "d_moves.gif", save_all=True, append_images=[Image.new("RGB", (300, 200), "red")])
    exif = Image.Exif()
    exif[0x0112] = 6
    page.transpose(Image.Transpose.ROTATE_90).save(folder / "e_rotated.jpg", exif=exif)
    Image.new("1", (20_000, 100), 1).save(folder / "f_wide.png")
    (folder / "g_empty.png").touch()
    (folder / "h_cut.png").write_bytes((folder / "a_plain.png").read_bytes()[:200])
    (folder / "i_text.jpg").write_text("hello")
    return {
        **dict.fromkeys(("a_plain.png", "b_cmyk.jpg", "c_deep.png", "d_moves.gif", "e_rotated.jpg", "f_wide.png")),
        "g_empty.png": "is empty",
        "h_cut.png": "cannot be read as an image",
        "i_text.jpg": "cannot be read as an image",
    }


def test_odd_images_are_run_or_named_and_the_others_go_on(tmp_path: Path) -> None:
    expected = odd_images(tmp_path / "pages")
    output = "pipeline.direct_inference.output"
    finished = llmperf(
        [
            *("infer", "--output", "run", *QUICK, "dataset.root=pages", "dataset.fallback_patterns=['*']"),
            f"{output}.prediction.enable=true",
            f"{output}.extra.deepseek_ocr.visualization.max_images=4",
        ],
        tmp_path,
    )
    assert finished.returncode == 1, finished.stderr
    assert "Traceback" not in finished.stderr
    assert "3 of 9 samples failed" in finished.stderr
    stage = tmp_path / "run" / "direct_inference"
    lines = (stage / "pred" / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    keys = ["source", "text", "text_raw", "prompt_tokens", "new_tokens", "metrics", "error"]
    assert list(json.loads(lines[0])) == keys
    said = [Prediction.model_validate_json(line) for line in lines]
    assert [Path(item.source).name for item in said] == list(expected)
    for item, problem in zip(said, expected.values(), strict=True):
        if problem is None:
            assert (item.error, item.new_tokens) == (None, 3)
        else:
            assert problem in str(item.error)
            assert item.text is None
    folders = {entry.name for entry in (stage / "viz").iterdir() if entry.is_dir()}
    drawn = [str(tmp_path / "pages" / name) for name in list(expected)[:4]]
    assert folders == {hashlib.md5(path.encode()).hexdigest() for path in drawn}
    for folder in folders:
        info = ImageInfo.model_validate_json((stage / "viz" / folder / "info.json").read_bytes())
        assert (info.width_px, info.height_px) == (300, 200)
        assert (stage / "viz" / folder / "images").is_dir()
    page = (stage / "viz" / "predictions.md").read_text(encoding="utf-8")
    assert "2 more samples are not shown" in page
    assert page.count("Failed: ") == 3
    assert read_json(tmp_path / "run" / "run.json")["stages"]["direct_inference"]["status"] == "failed"
    # The plain stage makes timed repeats only.
    record = Workload.model_validate_json((stage / "workload.json").read_bytes())
    assert record.timings_only
    assert not (stage / "modules.json").exists()


def test_the_profiled_stage_times_modules_and_memory(tmp_path: Path) -> None:
    output = "pipeline.torch_profiler.output.prediction"
    finished = llmperf(
        [
            *("torch", "--output", "run", *QUICK, "dataset.sampling.num_samples_per_epoch=1"),
            "pipeline.torch_profiler.warmup_rounds=0",
            "pipeline.torch_profiler.output.visualization.save_dir=.",
            *(outside := [f"{output}.enable=true", f"{output}.save_dir={tmp_path / 'said'}"]),
        ],
        tmp_path,
    )
    assert finished.returncode == 0, finished.stderr
    digest = hashlib.sha256((tmp_path / "said" / "predictions.jsonl").read_bytes()).hexdigest()
    told = f"torch_profiler: {tmp_path / 'said' / 'predictions.jsonl'}, "
    assert f"sha256 {digest} when the stage ended" in (tmp_path / "run" / "report.md").read_text(encoding="utf-8")
    assert told in (tmp_path / "run" / "report.md").read_text(encoding="utf-8")
    again = llmperf(["torch", "--output", "again", *QUICK, *outside], tmp_path)
    assert (again.returncode, (tmp_path / "again").exists()) == (2, False)
    assert "already holds the output of another run: predictions.jsonl" in again.stderr
    stage = tmp_path / "run" / "torch_profiler"
    assert (stage / "predictions.md").exists()
    assert not (stage / "viz").exists()
    record = Workload.model_validate_json((stage / "workload.json").read_bytes())
    assert not record.timings_only
    found = Instrumented.read(stage / "modules.json")
    assert (found.reason, found.missing, found.samples) == (None, {}, (0,))
    calls = {(time.phase, time.name): time.calls for time in found.modules}
    assert calls["prefill", "decoder.layers"] == 3
    assert calls["decode", "decoder.layers"] == 3 * 2
    assert calls["decode", "decoder.moe"] == 2 * 2
    assert {"sam", "clip", "projector"} <= {name for phase, name in calls if phase == "prefill"}
    assert not {"sam", "clip", "projector"} & {name for phase, name in calls if phase == "decode"}
    assert found.prefill_ms is not None
    direct = [time.total_ms for time in found.modules if time.phase == "prefill" and time.within is None]
    assert sum(direct) <= found.prefill_ms
    phases = [phase.phase for phase in (*record.memory.phases, *found.memory)]
    assert phases == ["load", "warm-up", "timed repeats", "prefill", "decode"]
    hardware = HardwareState.read(stage / "hardware.json")
    assert (hardware.recorded, hardware.reason) == (False, "no NVIDIA GPU was used")
    assert not (stage / "hardware_series.parquet").exists()
    report = (tmp_path / "run" / "report.md").read_text(encoding="utf-8")
    for title in ("## Modules", "## Hardware state and memory", "## Predictions"):
        assert title in report
    assert "energy.per_token_j: not measured: no NVIDIA GPU was used" in report


def tiny_llama(folder: Path) -> None:
    """A model directory without weights."""
    folder.mkdir()
    words = {word: index for index, word in enumerate(["<unk>", "</s>", "hello", "world"])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "</s>", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    sizes = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 4, "eos_token_id": 1, **sizes}
    (folder / "config.json").write_text(json.dumps(config))


def test_text_models_get_text(tmp_path: Path) -> None:
    tiny_llama(tmp_path / "model")
    finished = llmperf(
        [
            *("torch", "--output", "run", *QUICK, "model.name=causal_lm", "model.path=model", "model.weights=random"),
            *("infer.stop_on_eos=false", "dataset.prompt=hello world", "measure.ranges=[phase]"),
            "pipeline.torch_profiler.output.prediction.enable=true",
            "pipeline.torch_profiler.warmup_rounds=0",
        ],
        tmp_path,
    )
    assert finished.returncode == 0, finished.stderr
    stage = tmp_path / "run" / "torch_profiler"
    (line,) = (stage / "pred" / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    said = Prediction.model_validate_json(line)
    assert (said.source, said.prompt_tokens, said.new_tokens, said.error) == ("dataset.prompt", 2, 3, None)
    assert [entry.name for entry in (stage / "viz").iterdir()] == ["predictions.md"]
    page = (stage / "viz" / "predictions.md").read_text(encoding="utf-8")
    assert "<img" not in page
    assert "2 prompt tokens, 3 new tokens:" in page
    modules = Instrumented.read(stage / "modules.json")
    assert (modules.reason, modules.modules) == ("measure.ranges leaves out module", ())


def test_a_directory_named_in_the_list_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "pages" / "sub").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "pages" / "a.png")
    (tmp_path / "list.txt").write_text("a.png\n\nsub\n")
    finished = llmperf(["infer", "dataset.root=pages", "dataset.subset_filelist=list.txt"], tmp_path)
    assert finished.returncode == 3
    assert "list.txt:3" in finished.stderr
    assert "sub is a directory" in finished.stderr
