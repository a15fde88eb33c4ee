"""Back-translation: a text into another language and back, with any translation checkpoints of `transformers`.

A text in other words keeps its label. MixText (Chen et al. 2020, section 4.1) goes by way of German and Russian and
samples at temperature 0.9; Edunov et al. 2018 (https://aclanthology.org/D18-1045) compare sampling with beam search.
Knows texts, no files and no columns.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING, AutoConfig, AutoModelForSeq2SeqLM, AutoTokenizer

from mixtext_hf.models.checkpoint import check_checkpoint, check_tokenizer


# The longest input where neither the model nor its tokenizer says one.
_DEFAULT_MAX_LENGTH = 512


class Translator:
    """
    Translates lists of texts with one checkpoint: Marian, or a multilingual one with language tokens (NLLB, M2M100,
    mBART-50). Checkpoints that want something written before the text (T5, Marian models with several target
    languages) are not supported.

    Args:
        model_name_or_path (`str`): Hub id or folder of a sequence-to-sequence checkpoint with its tokenizer.
        device (`str` or `torch.device`, *optional*): `None` = the GPU if there is one, else the CPU.
        dtype (`torch.dtype`, *optional*): `None` = see [`default_dtype`].
        batch_size (`int`, *optional*, defaults to 32): Texts in a batch.
        max_length (`int`, *optional*):
            Most tokens of a text, and of its translation: longer texts are cut. `None` = as many as the model takes.
        src_lang, tgt_lang (`str`, *optional*):
            The codes of both languages, as the tokenizer of a multilingual checkpoint has them (`"eng_Latn"` for NLLB,
            `"en"` for M2M100).
        cache_dir (`str`, *optional*): Where files from the Hub are kept.

    Attributes:
        num_cut (`int`): How many texts have been longer than `max_length` so far.
    """

    def __init__(
        self,
        model_name_or_path: str,
        *,
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
        batch_size: int = 32,
        max_length: int | None = None,
        src_lang: str | None = None,
        tgt_lang: str | None = None,
        cache_dir: str | None = None,
    ):
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
        self.name = model_name_or_path
        self.device = torch.device(device) if device is not None else default_device()
        if self.device.type not in ("cpu", "cuda"):
            raise ValueError(f"device={str(self.device)!r} is not supported: use 'cpu' or 'cuda'.")
        self.batch_size = batch_size
        dtype = dtype or default_dtype(self.device)
        try:
            # Most Marian models on the Hub have no other weights than pickles, which torch reads as numbers alone.
            check_checkpoint(self.name, use_safetensors=False, cache_dir=cache_dir)
            check_tokenizer(self.name, cache_dir=cache_dir)
            where: dict[str, Any] = {"cache_dir": cache_dir, "trust_remote_code": False}
            config = AutoConfig.from_pretrained(self.name, **where)
            if type(config) not in MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING:
                raise ValueError(f"it is a model of type {config.model_type}, which writes no texts")
            self.tokenizer = AutoTokenizer.from_pretrained(self.name, **where)
            self.model = AutoModelForSeq2SeqLM.from_pretrained(self.name, dtype=dtype, weights_only=True, **where)
        except (OSError, ValueError, ImportError) as error:
            raise ValueError(
                f"No translation model could be loaded from {self.name!r} ({type(error).__name__}: {error}). Check "
                "the name, or give the folder of a checkpoint; Marian models need `pip install sentencepiece "
                "sacremoses`."
            ) from error
        self.model.to(self.device).eval()
        limits = (self.tokenizer.model_max_length, getattr(self.model.config, "max_position_embeddings", None))
        limit = min((limit for limit in limits if limit is not None and limit < 10**9), default=_DEFAULT_MAX_LENGTH)
        if max_length is not None and not 2 <= max_length <= limit:
            raise ValueError(f"max_length={max_length} must lie in 2..{limit}, which is what {self.name!r} takes.")
        self.max_length = max_length or limit
        self.model.generation_config.update(max_length=self.max_length, max_new_tokens=None)
        self.num_cut = 0
        self._set_languages(src_lang, tgt_lang)

    def between(self, src_lang: str | None, tgt_lang: str | None) -> Translator:
        """A translator between other languages that shares the weights of this one."""
        other = copy.copy(self)
        other.num_cut = 0
        other._set_languages(src_lang, tgt_lang)
        return other

    def _set_languages(self, src_lang: str | None, tgt_lang: str | None) -> None:
        # Tokenizers of multilingual checkpoints have this attribute, and put out nonsense without a language.
        is_multilingual = hasattr(self.tokenizer, "src_lang")
        for argument, lang in (("src_lang", src_lang), ("tgt_lang", tgt_lang)):
            if is_multilingual and lang is None:
                raise ValueError(
                    f"{self.name!r} is multilingual, but `{argument}` is missing: --text_language names the "
                    "language of the texts."
                )
            if not is_multilingual and lang is not None:
                raise ValueError(
                    f"{self.name!r} has no language tokens: leave out {argument}={lang!r} (--text_language)."
                )
        self.src_lang, self.tgt_lang = src_lang, tgt_lang
        self._first_token: dict[str, int] = {}
        if src_lang is not None and tgt_lang is not None:
            self._language_token("src_lang", src_lang)
            self._first_token = {"forced_bos_token_id": self._language_token("tgt_lang", tgt_lang)}

    def _language_token(self, argument: str, lang: str) -> int:
        unknown = self.tokenizer.unk_token_id
        for code in (f"__{lang}__", lang):  # M2M100 writes its language tokens in the first way
            token = self.tokenizer.convert_tokens_to_ids(code)
            if isinstance(token, int) and token != unknown:
                return token
        raise ValueError(f"{argument}={lang!r} is no language of {self.name!r}: its model card lists their codes.")

    def translate(self, texts: Sequence[str], *, temperature: float = 0.9, seed: Sequence[int] = (0,)) -> list[str]:
        """
        Translate texts. The result is a pure function of the arguments: no random state outside is read or changed.

        Args:
            texts (`Sequence[str]`): An empty text, or one of whitespace, comes back as it is.
            temperature (`float`, *optional*, defaults to 0.9):
                Words are sampled from the whole vocabulary at this temperature. 0 = no sampling, but the beam search
                of the checkpoint's generation config.
            seed (`Sequence[int]`, *optional*): Numbers from 0 that the sampling is a function of.

        Returns:
            `list[str]`: in the order of `texts`.
        """
        if not 0 <= temperature < math.inf:
            raise ValueError(f"temperature must be a finite number from 0, got {temperature}.")
        how: dict[str, Any] = {"do_sample": False}
        if temperature > 0:
            # As the papers sample: transformers' own default looks at the 50 likeliest words only.
            how = {"do_sample": True, "temperature": temperature, "num_beams": 1, "top_k": 0, "top_p": 1.0}
        translations = list(texts)
        rows = [row for row, text in enumerate(texts) if text.strip()]
        tokens = dict(zip(rows, self._tokenize([texts[row] for row in rows]), strict=True))
        # Texts of a length stand together, for little padding; the longest first, so that what takes too much memory
        # does so at once.
        rows.sort(key=lambda row: len(tokens[row]), reverse=True)
        with torch.random.fork_rng(devices=self._gpus()), torch.inference_mode():
            self._seed(int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]))
            for start in range(0, len(rows), self.batch_size):
                batch = rows[start : start + self.batch_size]
                inputs = self.tokenizer.pad({"input_ids": [tokens[row] for row in batch]}, return_tensors="pt")
                output = self.model.generate(**inputs.to(self.device), **how, **self._first_token)
                for row, text in zip(
                    batch, self.tokenizer.batch_decode(output, skip_special_tokens=True), strict=True
                ):
                    translations[row] = text.strip()
        return translations

    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        if not texts:
            return []
        if self.src_lang is not None:
            self.tokenizer.src_lang = self.src_lang
        tokens = self.tokenizer(texts, verbose=False)["input_ids"]
        for row, ids in enumerate(tokens):
            if len(ids) > self.max_length:
                self.num_cut += 1
                tokens[row] = self.tokenizer(texts[row], truncation=True, max_length=self.max_length)["input_ids"]
        return tokens

    def _gpus(self) -> list[int]:
        """The GPU whose generator is used, if one is."""
        if self.device.type == "cpu":
            return []
        return [torch.cuda.current_device() if self.device.index is None else self.device.index]

    def _seed(self, seed: int) -> None:
        # Not `torch.manual_seed`, which seeds all devices: only this one's generator is put back afterwards.
        if self.device.type == "cpu":
            torch.default_generator.manual_seed(seed)
        for gpu in self._gpus():
            torch.cuda.default_generators[gpu].manual_seed(seed)


def back_translate(
    texts: Sequence[str],
    forward: Translator,
    backward: Translator,
    *,
    temperature: float = 0.9,
    seed: Sequence[int] = (0,),
) -> list[str]:
    """
    Translate texts into another language and back, sampling both ways.

    Args:
        texts (`Sequence[str]`): The texts.
        forward ([`Translator`]): From the language of the texts to the other one.
        backward ([`Translator`]): From the other language back.
        temperature (`float`, *optional*, defaults to 0.9): See [`Translator.translate`].
        seed (`Sequence[int]`, *optional*): The two directions are sampled with `[*seed, 0]` and `[*seed, 1]`.

    Returns:
        `list[str]`: in the order of `texts`. One may be empty: a model can answer with nothing.
    """
    middle = forward.translate(texts, temperature=temperature, seed=[*seed, 0])
    return backward.translate(middle, temperature=temperature, seed=[*seed, 1])


def default_device() -> torch.device:
    """The GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def default_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 on a GPU that has it, else float32."""
    return torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else torch.float32
