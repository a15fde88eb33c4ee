"""Segments against what tokenizers say of their own texts, spans against a loop written from the paper."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from depth import examples
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers.processors import RobertaProcessing, TemplateProcessing
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import PreTrainedTokenizerFast

from mixtext_hf.mixing.spans import paste_spans, state_saliency, text_segments, token_saliency


PAD, CLS, SEP, MASK, UNK = range(5)
BOUNDARY, SPECIAL = {PAD, CLS, SEP}, {MASK}


# ---- the loops ----


def loop_segments(ids, mask, boundary, special, sentences):
    """The sentence of each token of one row."""
    number, is_open, found = 0, False, []
    for token, is_real in zip(ids, mask, strict=True):
        if token in boundary:
            is_open = False
        elif is_real:
            number, is_open = (number if is_open else number + 1), True
        is_word = is_real and token not in boundary and token not in special
        found.append(min(number, sentences) if is_word else 0)
    return found


def in_units(saliency, segments):
    """The saliency of one row in whole units, of which its largest has 2^40 to 2^41; all 0 where a word's is not finite."""
    words = [abs(s) for s, segment in zip(saliency, segments, strict=True) if segment]
    if not all(map(math.isfinite, words)):
        return [0] * len(saliency)
    # Below the smallest normal number floats lie no closer.
    unit = Fraction(2) ** (max([math.frexp(s)[1] for s in words if s] + [-125]) - 41)
    return [int(Fraction(s) / unit) if segment else None for s, segment in zip(saliency, segments, strict=True)]


def windows(segments, number, width):
    """The windows of one row and sentence, in order, as lists of positions."""
    starts = range(len(segments) - width + 1)
    return [list(range(i, i + width)) for i in starts if set(segments[i : i + width]) == {number}]


def lowest(candidates, score):
    """The first of the candidates with the lowest score."""
    return min(candidates, key=lambda one: (Fraction(sum(score[i] for i in one), len(one)), candidates.index(one)))


def loop_paste(row, other, share, sentences, contiguous, uniforms=None):
    """
    One row `(ids, segments, saliency)` after pasting from another; `uniforms` choose windows: `[sentence][own, other]`.
    """
    (ids, segments, saliency), (other_ids, other_segments, other_saliency) = row, other
    mixed, source, replaced = list(ids), [-1] * len(ids), 0
    own_score = in_units(saliency, segments)
    other_score = [None if s is None else -s for s in in_units(other_saliency, other_segments)]
    for number in range(1, sentences + 1):
        own = [i for i, segment in enumerate(segments) if segment == number]
        theirs = [i for i, segment in enumerate(other_segments) if segment == number]
        width = max(int(share * len(own)), 1)
        if len(own) < width or len(theirs) < width:
            continue
        if contiguous:
            all_own, all_theirs = windows(segments, number, width), windows(other_segments, number, width)
            if not all_own or not all_theirs:
                continue
            if uniforms is not None:
                u, v = uniforms[number - 1]
                there, here = all_own[int(u * len(all_own))], all_theirs[int(v * len(all_theirs))]
            else:
                there, here = lowest(all_own, own_score), lowest(all_theirs, other_score)
        else:
            there = sorted(sorted(own, key=lambda i: (own_score[i], i))[:width])
            here = sorted(sorted(theirs, key=lambda i: (other_score[i], i))[:width])
        for i, j in zip(there, here, strict=True):
            mixed[i], source[i] = other_ids[j], j
        replaced += width
    words = sum(segment > 0 for segment in segments)
    weight = 1 - Fraction(replaced, words) if words else Fraction(1)
    return mixed, source, weight


def paste_in_a_loop(ids, index, segments, *, saliency, sentences, share, contiguous, draws=None):
    rows = list(zip(ids.tolist(), segments.tolist(), saliency.tolist(), strict=True))
    done = []
    for i, j in enumerate(index.tolist()):
        if i == j:
            done.append((rows[i][0], [-1] * ids.shape[1], Fraction(1)))
        else:
            uniforms = None if draws is None else draws[i].tolist()
            done.append(loop_paste(rows[i], rows[j], share, sentences, contiguous, uniforms))
    return done


def assert_equals_the_loop(pasted, expected):
    assert pasted.input_ids.tolist() == [mixed for mixed, _, _ in expected]
    assert pasted.source.tolist() == [source for _, source, _ in expected]
    assert pasted.weight.dtype == torch.float32
    assert pasted.weight.tolist() == [float(np.float32(float(weight))) for _, _, weight in expected]


# ---- batches ----

LEVELS = [0.0, 0.1, 0.2, 0.3, 1.0, 3.0]
WILD = [*LEVELS, 1e-12, 1e-6, 1e30, 1e-44, 3e-39, -0.2]
BROKEN = [math.nan, math.inf, -math.inf]


@st.composite
def batches(draw, levels=LEVELS):
    """Ids, mask, saliency and index: sentences of words with special tokens between and within, padded on one side."""
    rows, longest = draw(st.integers(1, 5)), 0
    sentences = draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    within = draw(st.sampled_from([0.0, 0.0, 0.2, 0.9]))
    most, pad_left = draw(st.sampled_from([2, 8, 30])), draw(st.booleans())
    texts = []
    for _ in range(rows):
        text = [CLS]
        for _ in range(sentences):
            words = rng.integers(UNK, 40, rng.integers(0, most + 1))
            words[rng.random(len(words)) < within] = rng.choice([MASK, SEP], p=[0.8, 0.2])
            text += [*words.tolist(), SEP]
        texts.append(text)
        longest = max(longest, len(text))
    longest += int(rng.integers(0, 3))
    ids, mask = torch.full((rows, longest), PAD), torch.zeros(rows, longest, dtype=torch.int64)
    for row, text in enumerate(texts):
        place = slice(longest - len(text), longest) if pad_left else slice(0, len(text))
        ids[row, place], mask[row, place] = torch.tensor(text), 1
    saliency = torch.from_numpy(rng.choice(levels, ids.shape)).float()
    if draw(st.booleans()):
        saliency *= torch.from_numpy(rng.random(ids.shape)).float()
    index = torch.from_numpy(rng.integers(0, rows, rows) if draw(st.booleans()) else rng.permutation(rows))
    return ids, mask, saliency, index, sentences


def padded(tensor, left, right, value):
    return torch.nn.functional.pad(tensor, (left, right), value=value)


shares = st.sampled_from([0.1, 0.25, 0.29, 0.5, 1.0])


# ---- segments ----


@examples(150)
@given(batches(), st.integers(1, 4))
def test_segments_equal_the_loops(batch, sentences):
    ids, mask, *_ = batch
    segments = text_segments(ids, mask, BOUNDARY, SPECIAL, sentences=sentences)
    assert segments.dtype == torch.int64
    expected = [
        loop_segments(*row, BOUNDARY, SPECIAL, sentences) for row in zip(ids.tolist(), mask.tolist(), strict=True)
    ]
    assert segments.tolist() == expected
    # The padding has the id of padding; a mask of bools says the same.
    assert text_segments(ids, None, BOUNDARY, SPECIAL, sentences=sentences).equal(segments)
    assert text_segments(ids, mask.bool(), BOUNDARY, SPECIAL, sentences=sentences).equal(segments)


@examples(50)
@given(batches(), st.integers(0, 3), st.integers(0, 3), st.integers(0, 40))
def test_padding_of_any_id_changes_no_segment(batch, left, right, pad_id):
    ids, mask, _, _, sentences = batch
    segments = text_segments(ids, mask, BOUNDARY, SPECIAL, sentences=sentences)
    ids = torch.where(mask.bool(), ids, pad_id)
    more = text_segments(
        padded(ids, left, right, pad_id), padded(mask, left, right, 0), BOUNDARY - {PAD}, SPECIAL, sentences=sentences
    )
    assert more.equal(padded(segments, left, right, 0))


def word_piece():
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "film", "##s", "good", "bad", "and", "."]
    tokenizer = Tokenizer(models.WordPiece({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    return tokenizer, names


def byte_pairs(first):
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {w: i for i, w in enumerate([*first, *alphabet, "fi", "lm", "film", "oo"])}
    merges = [("f", "i"), ("l", "m"), ("fi", "lm"), ("o", "o")]
    tokenizer = Tokenizer(models.BPE(vocab, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def roberta():
    tokenizer = byte_pairs(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    tokenizer.post_processor = RobertaProcessing(("</s>", 2), ("<s>", 0))
    names = {
        "bos": "<s>",
        "eos": "</s>",
        "pad": "<pad>",
        "unk": "<unk>",
        "cls": "<s>",
        "sep": "</s>",
        "mask": "<mask>",
    }
    return tokenizer, names


def deberta_v2():
    pieces = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "▁a", "▁", "film", "▁film", "s", "▁good", "▁bad", "▁and", ".", "a"]
    vocab = [(piece, 0.0 if i < 4 else -float(i)) for i, piece in enumerate([*pieces, "[MASK]"])]
    tokenizer = Tokenizer(models.Unigram(vocab, unk_id=3))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    names = {"bos": "[CLS]", "eos": "[SEP]", "pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]"}
    return tokenizer, {**names, "mask": "[MASK]"}


def modernbert():
    tokenizer = byte_pairs(["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"])
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    names = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    return tokenizer, names


def tokenizer_of(family, side):
    made, names = {"bert": word_piece, "roberta": roberta, "deberta-v2": deberta_v2, "modernbert": modernbert}[
        family
    ]()
    special = {f"{name}_token": token for name, token in names.items()}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, padding_side=side, **special)
    tokenizer.add_special_tokens({"extra_special_tokens": ["<url>"]})
    return tokenizer


def ids_of(tokenizer):
    """What ends a sentence, and which further tokens are no words."""
    ends = [getattr(tokenizer, f"{name}_token_id") for name in ("cls", "sep", "bos", "eos", "pad")]
    boundary = {token for token in ends if token is not None}
    return boundary, set(tokenizer.all_special_ids) - boundary - {tokenizer.unk_token_id}


FAMILIES = ["bert", "roberta", "deberta-v2", "modernbert"]
SINGLES = ["a good film", "a bad film and a good film.", "film 漢 a", "", "good <url> films"]
PAIRS = [("a good film", "bad"), ("a", "a film and a bad film"), ("a <url> film", "films 漢 and"), ("bad film", "")]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("family", FAMILIES)
def test_segments_are_those_of_the_tokenizer(family, side):
    tokenizer = tokenizer_of(family, side)
    boundary, special = ids_of(tokenizer)
    masked = f"a {tokenizer.mask_token} good film"
    for texts, sentences in (([*SINGLES, masked], 1), ([*PAIRS, (masked, masked)], 2)):
        encoded = tokenizer(texts, padding=True, return_tensors="pt")
        segments = text_segments(encoded.input_ids, encoded.attention_mask, boundary, special, sentences=sentences)
        # The tokenizer knows of each token which text it comes from; of [MASK] and the like we leave it out.
        expected = [
            [
                0 if sequence is None or token in special else sequence + 1
                for sequence, token in zip(encoded.sequence_ids(row), ids, strict=True)
            ]
            for row, ids in enumerate(encoded.input_ids.tolist())
        ]
        assert segments.tolist() == expected
        assert {n for row in expected for n in row} == set(range(sentences + 1))
        assert special <= set(encoded.input_ids.unique().tolist())
        if tokenizer.unk_token_id in encoded.input_ids:
            assert (segments[encoded.input_ids == tokenizer.unk_token_id] > 0).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_pasting_into_tokenized_pairs(family):
    tokenizer = tokenizer_of(family, "right")
    boundary, special = ids_of(tokenizer)
    encoded = tokenizer([("a good film", "a good film"), ("bad <url> bad", "bad bad bad")], padding=True)
    ids, mask = torch.tensor(encoded["input_ids"]), torch.tensor(encoded["attention_mask"])
    segments = text_segments(ids, mask, boundary, special, sentences=2)
    index, saliency = torch.tensor([1, 0]), torch.rand(ids.shape, generator=torch.Generator().manual_seed(0))
    pasted = paste_spans(ids, index, segments, sentences=2, saliency=saliency, share=0.4)
    expected = paste_in_a_loop(ids, index, segments, saliency=saliency, sentences=2, share=0.4, contiguous=True)
    assert_equals_the_loop(pasted, expected)
    assert all(0 < weight < 1 for weight in pasted.weight.tolist())


@pytest.mark.parametrize(
    ("ids", "sentences", "expected"),
    [
        ([CLS, SEP], 2, [0, 0]),
        ([CLS, 7, SEP], 2, [0, 1, 0]),
        ([7, 8], 2, [1, 1]),
        ([CLS, 7, SEP, 8, SEP, 9, SEP], 1, [0, 1, 0, 1, 0, 1, 0]),
        ([CLS, 7, SEP, 8, SEP, 9, SEP], 2, [0, 1, 0, 2, 0, 2, 0]),
        ([CLS, 7, SEP, 8, SEP, 9, SEP], 5, [0, 1, 0, 2, 0, 3, 0]),
        # An empty sentence is not seen; one of special tokens is.
        ([CLS, SEP, 8, SEP], 2, [0, 0, 1, 0]),
        ([CLS, MASK, SEP, 8, SEP], 2, [0, 0, 0, 2, 0]),
        ([CLS, MASK, 7, MASK, 8, SEP], 2, [0, 0, 1, 0, 1, 0]),
        ([CLS, UNK, SEP, SEP, UNK, SEP], 2, [0, 1, 0, 0, 2, 0]),
    ],
    ids=str,
)
def test_odd_texts(ids, sentences, expected):
    assert text_segments(torch.tensor([ids]), None, BOUNDARY, SPECIAL, sentences=sentences).tolist() == [expected]


def test_many_special_ids_and_none():
    ids = torch.randint(0, 500, (3, 40), generator=torch.Generator().manual_seed(0))
    some = set(range(0, 500, 7))
    segments = text_segments(ids, None, [], some, sentences=2)
    assert segments.tolist() == [[int(token not in some) for token in row] for row in ids.tolist()]
    assert text_segments(ids, None, [], sentences=1).eq(1).all()


# ---- spans ----


@examples(300)
@given(batches(), shares, st.booleans())
def test_every_row_equals_the_loops(batch, share, contiguous):
    ids, mask, saliency, index, sentences = batch
    segments = text_segments(ids, mask, BOUNDARY, SPECIAL, sentences=sentences)
    arguments = {"saliency": saliency, "sentences": sentences, "share": share, "contiguous": contiguous}
    pasted = paste_spans(ids, index, segments, **arguments)
    assert_equals_the_loop(pasted, paste_in_a_loop(ids, index, segments, **arguments))
    # Seen from the result alone: words of the same sentence are replaced by words, everything else is as it was.
    changed = pasted.source >= 0
    taken = segments[index].gather(1, pasted.source.clamp(min=0))
    assert taken[changed].equal(segments[changed]) and (taken[changed] > 0).all()
    assert pasted.input_ids[~changed].equal(ids[~changed])
    special = torch.isin(ids, torch.tensor([PAD, CLS, SEP, MASK]))
    assert not (changed & special).any() and torch.isin(pasted.input_ids, torch.tensor([PAD, CLS, SEP, MASK])).equal(
        special
    )


@examples(150)
@given(batches(WILD), shares, st.booleans())
def test_saliencies_of_any_size(batch, share, contiguous):
    ids, mask, saliency, index, sentences = batch
    segments = text_segments(ids, mask, BOUNDARY, SPECIAL, sentences=sentences)
    arguments = {"saliency": saliency, "sentences": sentences, "share": share, "contiguous": contiguous}
    expected = paste_in_a_loop(ids, index, segments, **arguments)
    assert_equals_the_loop(paste_spans(ids, index, segments, **arguments), expected)
    arguments["saliency"] = saliency.double()
    assert_equals_the_loop(paste_spans(ids, index, segments, **arguments), expected)


@examples(100)
@given(batches([*LEVELS, *BROKEN]), st.booleans())
def test_what_is_not_finite_concerns_its_own_row(batch, contiguous):
    ids, mask, saliency, index, sentences = batch
    segments = text_segments(ids, mask, BOUNDARY, SPECIAL, sentences=sentences)
    arguments = {"sentences": sentences, "share": 0.3, "contiguous": contiguous}
    pasted = paste_spans(ids, index, segments, saliency=saliency, **arguments)
    assert_equals_the_loop(pasted, paste_in_a_loop(ids, index, segments, saliency=saliency, **arguments))
    is_broken = (~saliency.isfinite() & (segments > 0)).any(dim=1, keepdim=True)
    zeros = paste_spans(ids, index, segments, saliency=torch.where(is_broken, 0.0, saliency), **arguments)
    assert all(map(torch.equal, pasted, zeros))


@examples(150)
@given(batches(), shares, st.integers(0, 2**32 - 1))
def test_drawn_windows_equal_the_loops(batch, share, seed):
    ids, mask, _, index, sentences = batch
    segments = text_segments(ids, mask, BOUNDARY, SPECIAL, sentences=sentences)
    rng = np.random.default_rng(seed)
    # Sixty-fourths: a product with a count is exact.
    draws = torch.from_numpy(rng.integers(0, 64, (len(ids), sentences, 2)) / 64).float()
    pasted = paste_spans(ids, index, segments, sentences=sentences, draws=draws, share=share)
    nothing = torch.zeros(ids.shape)
    arguments = {"saliency": nothing, "sentences": sentences, "share": share, "contiguous": True}
    assert_equals_the_loop(pasted, paste_in_a_loop(ids, index, segments, draws=draws, **arguments))


def test_the_largest_draw_is_the_last_window():
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16):
        largest = torch.tensor(1.0, dtype=dtype).nextafter(torch.tensor(0.0, dtype=dtype)).item()
        for length in (1, 2, 3, 7, 9, 100):
            ids = torch.arange(5, 5 + 2 * length).view(2, length)
            draws = torch.full((2, 1, 2), largest, dtype=dtype)
            # What a float32 makes of the largest float64 is 1.
            for some in (draws, torch.ones_like(draws)):
                pasted = paste_spans(
                    ids, torch.tensor([1, 0]), torch.ones_like(ids), sentences=1, draws=some, share=1e-9
                )
                assert pasted.source.tolist() == [[-1] * (length - 1) + [length - 1]] * 2


def test_drawn_windows_are_uniform():
    ids = torch.arange(5, 17).view(1, 12).repeat(6000, 1)
    segments = torch.ones_like(ids)
    draws = torch.rand(6000, 1, 2, generator=torch.Generator().manual_seed(0))
    pasted = paste_spans(ids, torch.arange(6000).roll(1), segments, sentences=1, draws=draws, share=0.25)
    replaced = (pasted.source >= 0).int().argmax(dim=1)
    taken = pasted.source.gather(1, replaced.unsqueeze(1)).squeeze(1)
    counts = torch.bincount(replaced * 10 + taken, minlength=100)
    assert len(counts) == 100 and counts.min() > 30 and counts.max() < 95
    assert (pasted.weight == 0.75).all()


@examples(100)
@given(batches(), shares, st.integers(0, 2**32 - 1))
def test_drawn_tokens_equal_the_loops(batch, share, seed):
    ids, mask, _, index, sentences = batch
    segments = text_segments(ids, mask, BOUNDARY, SPECIAL, sentences=sentences)
    draws = torch.from_numpy(np.random.default_rng(seed).random((len(ids), ids.shape[1] + 2))).float()
    pasted = paste_spans(ids, index, segments, sentences=sentences, draws=draws, share=share, contiguous=False)
    saliency = torch.zeros(ids.shape)
    for row in range(len(ids)):
        words = [i for i, segment in enumerate(segments[row].tolist()) if segment]
        for j, i in enumerate(words):
            saliency[row, i] = draws[row, j]
    arguments = {"saliency": saliency, "sentences": sentences, "share": share, "contiguous": False}
    assert_equals_the_loop(pasted, paste_in_a_loop(ids, index, segments, **arguments))


@examples(150)
@given(batches(WILD), st.integers(0, 4), st.integers(0, 4), st.booleans(), st.booleans(), st.integers(0, 2**32 - 1))
def test_padding_and_the_order_of_rows_change_nothing(batch, left, right, contiguous, by_chance, seed):
    ids, mask, saliency, index, sentences = batch
    rng = np.random.default_rng(seed)
    shape = (len(ids), sentences, 2) if contiguous else (len(ids), ids.shape[1] + left + right)
    draws = torch.from_numpy(rng.random(shape)).float()

    def paste(ids, mask, saliency, index, draws):
        segments = text_segments(ids, mask, BOUNDARY, SPECIAL, sentences=sentences)
        chosen_by = {"draws": draws} if by_chance else {"saliency": saliency}
        return paste_spans(ids, index, segments, sentences=sentences, share=0.3, contiguous=contiguous, **chosen_by)

    plain = paste(ids, mask, saliency, index, draws)
    wider = paste(
        padded(ids, left, right, PAD), padded(mask, left, right, 0), padded(saliency, left, right, 1e35), index, draws
    )
    inner = slice(left, left + ids.shape[1])
    assert wider.input_ids.equal(padded(plain.input_ids, left, right, PAD))
    assert wider.weight.equal(plain.weight)
    assert wider.source[:, inner].equal(torch.where(plain.source >= 0, plain.source + left, -1))

    order = torch.from_numpy(rng.permutation(len(ids)))
    shuffled = paste(ids[order], mask[order], saliency[order], order.argsort()[index[order]], draws[order])
    assert all(one.equal(other[order]) for one, other in zip(shuffled, plain, strict=True))


@pytest.mark.parametrize(
    ("saliency", "width", "first"),
    [
        # A large value before them rounds what small windows sum to; of two that are equal the first one is taken.
        ([1e6, 0.1, 0.7, 0.7, 0.1], 2, 1),
        ([1e6, 0.2, 0.19999, 1.0, 1.0], 1, 2),
        ([0.1, 0.1, 0.1, -0.1, 1.0], 1, 3),
        # Below the smallest normal float32.
        ([6.5e-39, 6.5e-39, 12e-39, 0.0, 1e-37], 2, 2),
        ([3e-45, 1e-45, 3e-45, 3e-45, 3e-45], 1, 1),
        ([0.0, 0.0, 0.0, 0.0, 0.0], 2, 0),
        ([3.4e38, 3.4e38, 3.4e38, 3.3e38, 3.4e38], 4, 0),
        ([3.4e38, 3.4e38, 3.4e38, 3.4e38, 3.3e38], 4, 1),
    ],
    ids=str,
)
def test_windows_are_compared_exactly(saliency, width, first):
    ids = torch.arange(5, 15).view(2, 5)
    both = torch.tensor([saliency, [-value for value in saliency]])
    segments, index = torch.ones_like(ids), torch.tensor([1, 0])
    pasted = paste_spans(ids, index, segments, sentences=1, saliency=both, share=width / 5)
    span = list(range(first, first + width))
    # The lowest of the first row is the highest of the second, and is pasted over itself.
    assert pasted.source[0].tolist() == [i if i in span else -1 for i in range(5)]


def test_a_pair_is_weighted_by_its_lengths():
    first, second = [5] * 20, [6] * 50
    ids = torch.tensor([[CLS, *first, SEP, *second, SEP], [CLS, *[7] * 20, SEP, *[8] * 50, SEP]])
    segments = text_segments(ids, None, BOUNDARY, SPECIAL, sentences=2)
    pasted = paste_spans(ids, torch.tensor([1, 0]), segments, sentences=2, saliency=torch.ones(ids.shape))
    assert pasted.input_ids[0].tolist() == [CLS, 7, 7, *[5] * 18, SEP, *[8] * 5, *[6] * 45, SEP]
    assert pasted.weight.tolist() == [float(np.float32(1 - 7 / 70))] * 2


@pytest.mark.parametrize("contiguous", [True, False])
@pytest.mark.parametrize(
    ("own", "other", "share", "mixed", "weight"),
    [
        ([CLS, 7, SEP], [CLS, 8, SEP], 0.1, [CLS, 8, SEP], 0.0),  # one token: a window is the whole text
        ([CLS, SEP, PAD], [CLS, 8, SEP], 0.1, [CLS, SEP, PAD], 1.0),
        ([CLS, 7, SEP], [CLS, SEP, PAD], 0.1, [CLS, 7, SEP], 1.0),
        ([CLS, MASK, SEP], [CLS, 8, SEP], 0.1, [CLS, MASK, SEP], 1.0),
        ([CLS, 7, 7, 7, SEP], [CLS, 8, 8, SEP, PAD], 1.0, [CLS, 7, 7, 7, SEP], 1.0),  # the partner is shorter
        ([CLS, 7, 7, SEP, PAD], [CLS, 8, 9, 8, SEP], 1.0, [CLS, 8, 9, SEP, PAD], 0.0),
        ([PAD, PAD, PAD], [CLS, 8, SEP], 1.0, [PAD, PAD, PAD], 1.0),
    ],
    ids=str,
)
def test_odd_rows(own, other, share, mixed, weight, contiguous):
    ids = torch.tensor([own, other])
    segments = text_segments(ids, None, BOUNDARY, SPECIAL, sentences=1)
    pasted = paste_spans(
        ids,
        torch.tensor([1, 1]),
        segments,
        sentences=1,
        saliency=torch.zeros(ids.shape),
        share=share,
        contiguous=contiguous,
    )
    assert pasted.input_ids.tolist() == [mixed, other]
    assert pasted.weight.tolist() == [weight, 1.0]


def test_a_special_token_within_breaks_windows_but_not_tokens():
    ids = torch.tensor([[CLS, 7, MASK, 7, SEP], [CLS, 8, 9, 8, SEP]])
    segments = text_segments(ids, None, BOUNDARY, SPECIAL, sentences=1)
    arguments = {"sentences": 1, "saliency": torch.zeros(ids.shape), "share": 1.0}
    assert paste_spans(ids, torch.tensor([1, 1]), segments, **arguments).weight.tolist() == [1.0, 1.0]
    pasted = paste_spans(ids, torch.tensor([1, 1]), segments, **arguments, contiguous=False)
    assert pasted.input_ids[0].tolist() == [CLS, 8, MASK, 9, SEP] and pasted.weight[0] == 0


def test_tokens_of_later_sentences_belong_to_the_last():
    ids = torch.tensor([[CLS, 7, SEP, 8, SEP, 9, SEP], [CLS, 17, SEP, 18, SEP, 19, SEP]])
    by_three, by_two = (text_segments(ids, None, BOUNDARY, sentences=n) for n in (3, 2))
    arguments = {"sentences": 2, "saliency": torch.rand(ids.shape)}
    index = torch.tensor([1, 0])
    assert all(
        map(torch.equal, paste_spans(ids, index, by_three, **arguments), paste_spans(ids, index, by_two, **arguments))
    )


# ---- saliency ----


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_saliencies_equal_their_formulas(dtype):
    generator = torch.Generator().manual_seed(0)
    gradient, states = (torch.randn(3, 7, 16, generator=generator).to(dtype) for _ in range(2))
    segments = torch.randint(0, 3, (3, 7), generator=generator)
    gradient[segments == 0] = math.nan
    saliency, of_states = token_saliency(gradient, segments), state_saliency(gradient, states, segments)
    assert saliency.dtype == of_states.dtype == torch.float32
    for row, column in np.ndindex(3, 7):
        g, h = gradient[row, column].double().numpy(), states[row, column].double().numpy()
        is_word = bool(segments[row, column])
        expected = np.sqrt(np.mean(g**2)) if is_word else 0.0
        np.testing.assert_allclose(saliency[row, column], expected, rtol=1e-6)
        expected = np.linalg.norm(g) * np.linalg.norm(h) if is_word else 0.0
        np.testing.assert_allclose(of_states[row, column], expected, rtol=1e-6)


def test_saliency_of_a_gradient_too_small_to_be_squared():
    gradient, segments = torch.full((1, 2, 4), 1e-30), torch.ones(1, 2, dtype=torch.int64)
    np.testing.assert_allclose(token_saliency(gradient, segments), [[1e-30, 1e-30]], rtol=1e-6)


@examples(50)
@given(st.integers(1, 4), st.integers(1, 20), st.integers(0, 9), st.integers(0, 9), st.integers(0, 2**32 - 1))
def test_padding_changes_no_bit_of_a_saliency(rows, length, left, right, seed):
    generator = torch.Generator().manual_seed(seed)
    gradient, states = (torch.randn(rows, length, 48, generator=generator) for _ in range(2))
    segments = torch.randint(0, 3, (rows, length), generator=generator)
    saliency = token_saliency(gradient, segments), state_saliency(gradient, states, segments)
    wide_gradient, wide_states = (
        torch.nn.functional.pad(tensor, (0, 0, left, right), value=100.0) for tensor in (gradient, states)
    )
    wide_segments = padded(segments, left, right, 0)
    wide = token_saliency(wide_gradient, wide_segments), state_saliency(wide_gradient, wide_states, wide_segments)
    for one, other in zip(saliency, wide, strict=True):
        assert other.equal(padded(one, left, right, 0.0))


# ---- the device, and wrong arguments ----


class NoDoubles(TorchDispatchMode):
    """Apple's GPUs have none."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        assert not (isinstance(result, torch.Tensor) and result.dtype == torch.float64), function
        return result


@pytest.mark.parametrize("contiguous", [True, False])
@pytest.mark.parametrize("by_chance", [True, False])
def test_nothing_waits_for_the_device_or_needs_doubles(contiguous, by_chance):
    # A tensor without values cannot be read.
    ids = torch.ones(4, 9, dtype=torch.int64, device="meta")
    with NoDoubles():
        segments = text_segments(ids, torch.ones_like(ids), BOUNDARY, range(100, 300), sentences=2)
        states = torch.ones(4, 9, 8, device="meta")
        saliency = state_saliency(states, states, segments)
        draws = torch.ones((4, 2, 2) if contiguous else (4, 9), device="meta")
        chosen_by = {"draws": draws} if by_chance else {"saliency": saliency}
        index = torch.ones(4, dtype=torch.int64, device="meta")
        pasted = paste_spans(ids, index, segments, sentences=2, contiguous=contiguous, **chosen_by)
    assert pasted.input_ids.shape == pasted.source.shape == (4, 9) and pasted.weight.shape == (4,)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sentences": 0}, "`sentences` must be at least 1, got 0"),
        ({"share": 0.0}, r"`share` must lie in \(0, 1\], got 0.0"),
        ({"share": 1.5}, r"`share` must lie in \(0, 1\], got 1.5"),
        ({"share": math.nan}, r"`share` must lie in \(0, 1\], got nan"),
        ({"saliency": None}, "Give `saliency`, or `draws`"),
        ({"draws": torch.zeros(2, 1, 2)}, "Give `saliency`, or `draws`"),
        ({"saliency": torch.zeros(2, 4)}, r"`saliency` must have shape \(2, 3\) for these `input_ids`, got \(2, 4\)"),
        ({"segments": torch.ones(2, 4)}, r"`segments` must have shape \(2, 3\)"),
        ({"index": torch.tensor([0])}, r"`index` must have shape \(2,\)"),
        (
            {"saliency": None, "draws": torch.zeros(2, 3)},
            r"`draws` must have shape \(2, 1, 2\), two for each sentence",
        ),
        (
            {"saliency": None, "draws": torch.zeros(2, 2), "contiguous": False},
            r"`draws` must have shape \(2, at least 3\), one for each token, got \(2, 2\)",
        ),
    ],
    ids=str,
)
def test_wrong_arguments_are_named(arguments, message):
    ids = torch.ones(2, 3, dtype=torch.int64)
    right = {"index": torch.tensor([1, 0]), "segments": ids, "sentences": 1, "saliency": torch.zeros(2, 3)}
    with pytest.raises(ValueError, match=message):
        paste_spans(ids, **{**right, **arguments})


def test_segments_of_no_sentence_are_refused():
    with pytest.raises(ValueError, match="`sentences` must be at least 1, got 0"):
        text_segments(torch.ones(2, 3, dtype=torch.int64), None, BOUNDARY, sentences=0)
