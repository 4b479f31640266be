"""Generates repositories with Kubernetes' shape by git fast-import: directories up to ten levels deep, six files in each.

The plugin lies deep below, as upstream's does: PLUGIN holds PLUGIN_FILES files. Contents are short and alike, which is quick
to make; `realistic` ones have the size (10 kB a file, the
plugin's 4 kB) and the names of source code, and compress as it does (by 3.7; Go's own library by 3.6).
"""
import random
import subprocess

from support.git_servers import git

PLUGIN = "staging/src/k8s.io/kms"
PLUGIN_FILES = 31
FILES_PER_DIRECTORY = 6


def _directories(count):
    """`count` paths, the first of them near the root; each directory has up to eight in it, ten levels at most."""
    queue, made = [(f"area{i}", 1) for i in range(20)], []
    for path, level in queue:
        if len(made) == count:
            break
        made.append(path)
        if level < 10:
            queue.extend((f"{path}/part{i}", level + 1) for i in range(3 if level < 7 else 1))
    return made


class _Short:
    """Short files, which are quick to make."""

    def name(self, number):
        return f"file{number}.go"

    def content(self, directory, number):
        return f"package part{directory}\n\n// {directory * 7919 + number * 104729:x}\n" + f"var v{number} = {directory}\n" * 40

    def plugin(self, number):
        return f"package kms{number}\n" + f"var plugin{number} = {number * 31337}\n" * 60


class _Realistic:
    """Lines of random words, a few of them much more frequent than the others as in any text; the same at every call."""

    def __init__(self):
        self._random = random.Random(1)
        letters = "etaoinshrdlucmfwypvbgkjqxz"
        self._words = ["".join(self._random.choices(letters, range(26, 0, -1), k=self._random.randint(3, 11))) for _ in range(2000)]
        self._weights = [1 / (rank + 1) for rank in range(len(self._words))]
        self._lines = [self._line() for _ in range(20_000)]
        self._idioms = [self._line() for _ in range(40)]

    def _line(self):
        return "\t" * self._random.randint(0, 3) + " ".join(self._random.choices(self._words, self._weights, k=self._random.randint(2, 9)))

    def name(self, _number):
        return "_".join(self._random.sample(self._words, 2)) + ".go"

    def content(self, _directory, _number, max_lines=420):
        count = self._random.randint(20, max_lines)
        lines = self._random.choices(self._lines, k=count // 2) + self._random.choices(self._idioms, k=count // 2)
        self._random.shuffle(lines)
        return "\n".join(lines) + "\n"

    def plugin(self, number):
        return self.content(0, number, max_lines=160)  # upstream's are smaller than the average


def _files(count, text, plugin):
    for number, directory in enumerate(_directories((count - PLUGIN_FILES) // FILES_PER_DIRECTORY)):
        for i in range(FILES_PER_DIRECTORY):
            yield f"{directory}/{text.name(i)}", text.content(number, i)
    if plugin is not None:
        yield from plugin.items()
        return
    for i in range(PLUGIN_FILES):
        directory = ["", "apis/v2/", "internal/plugins/_mock/", "pkg/service/"][i % 4]
        yield f"{PLUGIN}/{directory}file{i}.go", text.plugin(i)


def generate(directory, files=30_000, history=1, realistic=False, plugin=None):
    """A bare repository with `history` commits on main, the last of which has all files. `plugin`, {path: text}, replaces PLUGIN."""
    directory.mkdir(parents=True)
    git(directory, "init", "-q", "--bare", "-b", "main", ".")
    git(directory, "config", "uploadpack.allowFilter", "true")
    with subprocess.Popen(["git", "fast-import", "--quiet"], cwd=directory, stdin=subprocess.PIPE) as importer:
        def data(text):
            importer.stdin.write(b"data %d\n%s\n" % (len(text.encode()), text.encode()))

        for commit in range(history):
            importer.stdin.write(b"commit refs/heads/main\ncommitter t <t@example.org> %d +0000\n" % (1_700_000_000 + commit))
            data(f"commit {commit}")
            if commit < history - 1:
                importer.stdin.write(b"M 100644 inline README\n")
                data(f"{commit}")
        for path, content in _files(files, _Realistic() if realistic else _Short(), plugin):
            importer.stdin.write(f"M 100644 inline {path}\n".encode())
            data(content)
    assert importer.returncode == 0
    git(directory, "repack", "-adq", *(["--window=0"] if realistic else ["--window=4", "--depth=8"]))
    return directory
