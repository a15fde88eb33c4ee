"""What runs the pages: what is wrong in one fails with its name and line, and nothing is made smaller but what `shrink.py` says."""

import pytest
import shrink
from blocks import PageError, commands_of, parse
from pages import run_in_fork


GOOD = """# Good

<!-- before
mkdir -p made/before
-->

```bash
cd made/before
export WORD=two
echo one > file
```

```console
$ cat file \\
> ; echo $WORD
one
$ mixtext-hf --version | head -1
```

```yaml
# here.yaml
a: 1
```

=== "Python"

    ```python
    first = len(dev)
    ```

```python
from pathlib import Path

assert first == 12 and Path("file").exists()
```

```bash
cd ../..
test -f made/before/here.yaml -a -f train.csv
python - <<'PYTHON'
import sys
print(len(sys.argv))
PYTHON
python -c "import sys; sys.exit(3)" || echo $?
pip install -e '.[demo]' && make -n demo > /dev/null
make demo && . .venv/bin/activate && python -m venv other && . other/bin/activate && hf auth login --help > /dev/null
torchrun --nproc_per_node 2 --no_python mixtext-hf --version
```
"""


def test_the_blocks_of_a_page_run_from_top_to_bottom(world, tmp_path):
    page = tmp_path / "good.md"
    page.write_text(GOOD)
    assert [place for place, _ in run_in_fork(page, world, tmp_path)] == [
        f"good.md:{line}" for line in (4, 8, 14, 21, 28, 32, 38)
    ]


@pytest.mark.parametrize(
    "code, language, line, said",
    [
        ("echo\nfalse\n", "bash", 4, "line 5: status 1: false"),
        ("true\nnosuchprogram a\n", "bash", 4, "line 5: nosuchprogram: command not found"),
        ("mixtext-hf train-text --mix_alfa 2 --output_dir out\n", "bash", 4, "mix_alfa"),
        ("mixtext-hf predict nowhere new.csv | cat\n", "bash", 4, "nowhere"),
        ("echo $UNSET\n", "bash", 4, "UNSET: unbound variable"),
        ("$ true\nfalse\n$ false\n", "console", 4, "line 6: status 1: false"),
        ("one = 1\nassert one == 2\n", "python", 4, "line 5"),
        ("pip install 'mixtext-hf[nothing]'\n", "bash", 4, "no extras ['nothing']"),
        ("pip install 'mixtext-hf @ git+<this repository>'\n", "bash", 4, "placeholder"),
        ("make nothing\n", "bash", 4, "nothing"),
        ("torchrun --nprocs 2 train.py\n", "bash", 4, "nprocs"),
        ("accelerate launch --num_process 2 -m mixtext_hf.cli.main --version\n", "bash", 4, "num_process"),
        ("hf auth log\n", "bash", 4, "no command auth log"),
        ("python nowhere.py\n", "bash", 4, "no nowhere.py"),
        ("git clone\n", "bash", 4, "names no repository"),
    ],
)
def test_what_fails_is_named_with_its_line(world, tmp_path, code, language, line, said):
    page = tmp_path / "wrong.md"
    page.write_text(f"# Wrong\n\n```{language}\n{code}```\n")
    with pytest.raises(PageError) as error:
        run_in_fork(page, world, tmp_path)
    assert str(error.value).startswith(f"wrong.md:{line}: {language} block")
    assert said in str(error.value)


@pytest.mark.parametrize(
    "text, said",
    [
        ("a\n```\nb\n```\n", "page.md:2: a block without a language"),
        ("```sh\nb\n```\n", "page.md:1: a block of 'sh'"),
        ("```bash\nb\n", "page.md:1: a block without an end"),
        ("<!-- before\n", "page.md:1: a comment without an end"),
        ("<!-- before perl\nb\n-->\n", "page.md:1: `<!-- before`"),
    ],
)
def test_pages_that_cannot_be_read(text, said):
    with pytest.raises(PageError, match=f"^{said}"):
        parse(text, "page.md")


def test_what_is_in_comments_is_no_block():
    assert parse("<!--\n```bash\nfalse\n```\n-->\n", "page.md") == []


def test_blocks_have_the_name_of_the_comment_above():
    named, other = parse("<!-- loop -->\n```python\na\n```\n\n```python title=x\nb\n```\n", "page.md")
    assert (named.name, other.name, other.line, other.language) == ("loop", None, 7, "python")


def test_commands_of_a_console_keep_their_lines():
    assert commands_of("$ a \\\n  b\nsaid\n$ c\n") == "a \\\n  b\n\nc\n"


@pytest.mark.parametrize(
    "words, smaller",
    [
        ("train-text --labeled_per_class 10 --max_steps 400 --train_file a", None),
        ("train-text --labeled_per_class=200 --train_file a", "train-text --labeled_per_class 50 --train_file a"),
        ("train-image --labeled_per_class 50 --train_file a", "train-image --labeled_per_class 10 --train_file a"),
        ("train-text --labeled_per_class x --train_file a", None),
        (
            "compare text --seeds 3 1 2 --methods a b --labeled_per_class 50 200 500 --test_file c",
            "compare text --seeds 3 --methods a b --labeled_per_class 50 49 --test_file c",
        ),
        ("predict out new.csv --output_file a.csv", None),
        ("benchmark text --rounds 30", "benchmark text --rounds 30 --rounds 1 --warmup 0 --batch_size 2"),
        ("--version", None),
    ],
)
def test_what_is_made_smaller(words, smaller):
    assert shrink.small(words.split()) == (smaller or words).split()


def test_arguments_of_a_file_are_made_smaller(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("seeds: [0, 1]\nlabeled_per_class: 90\nmix_alpha: 2\n")
    words = ["compare", "text", "--config", str(path)]
    assert shrink.small(words) == [*words, "--seeds", "0", "--labeled_per_class", "50"]
