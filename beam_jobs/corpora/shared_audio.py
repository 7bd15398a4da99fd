"""Finds audio that a catalogue has twice: in two corpora, of two speakers, or under two names.

A speaker's name holds within one corpus. In two corpora that share files, one person has two names,
and so may be in two splits, and be mixed with herself.
"""

import contextlib
import functools
import itertools
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from beam_jobs.runtime.dead_letters import Rejected
from beam_jobs.storage import files
from beam_jobs.storage.hard_links import find_hard_links
from schemas.errors import UserError


class SharedAudioError(UserError):
    """Two corpora have audio in common; the message names both, and a file."""


def find_doubtful(
    tables: Sequence[pa.Table], corpus_roots: Mapping[str, str]
) -> dict[str, Rejected]:
    """Finds the utterances of one corpus that are the same audio under several names.

    Of one speaker's, the first stays; of several speakers', nobody knows which one speaks.

    Args:
        tables: all utterances, as `beam_jobs.corpora.catalogue.SCHEMA` says.
        corpus_roots: the folder of each corpus, by its name.

    Returns:
        The rejection of each such utterance, by its id.

    Raises:
        SharedAudioError: two corpora have the same audio.
    """
    doubtful: dict[str, Rejected] = {}
    shared: Counter[tuple[str, str]] = Counter()
    example: dict[tuple[str, str], str] = {}
    for path, rows in _with_several_names(tables, corpus_roots):
        for row, other in _overlapping(rows):
            if row["corpus"] != other["corpus"]:
                pair = tuple(sorted((row["corpus"], other["corpus"])))
                shared[pair] += 1
                example.setdefault(pair, path)
            elif _range(row) != _range(other):
                continue
            elif row["speaker"] != other["speaker"]:
                for one, another in ((row, other), (other, row)):
                    doubtful[one["id"]] = Rejected(
                        path,
                        f"the same audio has two speakers: {one['id']!r} is"
                        f" {one['speaker']!r}, {another['id']!r} is {another['speaker']!r}",
                    )
            elif row["path"] != other["path"]:
                doubtful[other["id"]] = Rejected(
                    files.join(corpus_roots[other["corpus"]], other["path"]),
                    f"another name of a file: {row['path']}",
                )
    if shared:
        ((pair, count),) = shared.most_common(1)
        raise SharedAudioError(
            f"--corpus: {pair[0]} and {pair[1]} have the same audio {count:,} times, such as"
            f" {example[pair]}: a speaker in both would be in two splits, and be mixed with"
            " herself: leave one of them out, or take these files out of one"
        )
    return doubtful


def _with_several_names(
    tables: Sequence[pa.Table], corpus_roots: Mapping[str, str]
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yields each file of several corpora, speakers or names, with all of its utterances."""
    if not tables:
        return
    table = pa.concat_tables(tables)
    paths = pa.chunked_array([_real_paths(one, corpus_roots) for one in tables], pa.string())
    table = table.append_column("real_path", _without_hard_links(paths))
    uses = table.group_by("real_path").aggregate(
        [(name, "count_distinct") for name in ("corpus", "speaker", "path")]
    )
    counts = [uses[f"{name}_count_distinct"] for name in ("corpus", "speaker", "path")]
    several_paths = uses["real_path"].filter(pc.greater(pc.max_element_wise(*counts), 1))
    if not len(several_paths):
        return
    rows = table.filter(pc.is_in(table["real_path"], several_paths.combine_chunks()))
    ordered = rows.sort_by(
        [("real_path", "ascending"), ("start", "ascending"), ("id", "ascending")]
    )
    in_order = (row for batch in ordered.to_batches() for row in batch.to_pylist())
    for path, of_path in itertools.groupby(in_order, key=lambda row: str(row["real_path"])):
        yield path, list(of_path)


def _overlapping(
    rows: Sequence[dict[str, Any]],
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yields each pair of utterances, in the order of their starts, that have samples in common."""
    for index, row in enumerate(rows):
        for other in itertools.islice(rows, index + 1, None):
            if other["start"] >= row["stop"]:
                break
            channels = (row.get("channel"), other.get("channel"))
            if None in channels or channels[0] == channels[1]:
                yield row, other


def _range(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["start"], row["stop"], row.get("channel")


def _real_paths(table: pa.Table, corpus_roots: Mapping[str, str]) -> pa.Array:
    """Returns the paths of the files in a table without any links, [utterances].

    Only manifests give absolute paths, which may lead through links. The catalogue has no file in a
    corpus's folder to which a link leads.
    """
    real_roots = {name: files.real_path(root) for name, root in corpus_roots.items()}
    corpora = table["corpus"].combine_chunks().dictionary_encode()
    roots = pa.array([real_roots[name] for name in corpora.dictionary.to_pylist()], pa.string())
    paths = table["path"].combine_chunks()
    joined = pc.binary_join_element_wise(roots.take(corpora.indices), paths, "/")
    is_absolute = pc.starts_with(paths, "/")
    if not pc.any(is_absolute).as_py():
        return joined
    look = functools.cache(_look_at_folder)
    real = [_real_path(path, look) for path in paths.filter(is_absolute).to_pylist()]
    return pc.replace_with_mask(joined, is_absolute, pa.array(real, pa.string()))


def _without_hard_links(paths: pa.ChunkedArray) -> pa.ChunkedArray:
    """Returns paths of files, [utterances], with one name for each file that has several."""
    folders = pc.unique(pc.replace_substring_regex(paths, "/[^/]*$", "")).to_pylist()
    first_names = find_hard_links(one for one in folders if not files.is_remote(one))
    if not first_names:
        return paths
    paths = paths.combine_chunks()
    has_several = pc.is_in(paths, pa.array(list(first_names), pa.string()))
    names = [first_names[path] for path in paths.filter(has_several).to_pylist()]
    return pa.chunked_array([pc.replace_with_mask(paths, has_several, pa.array(names))])


def _real_path(path: str, look: Callable[[str], tuple[str, frozenset[str]]]) -> str:
    folder, _, name = path.rpartition("/")
    real_folder, links = look(folder)
    return os.path.realpath(path) if name in links else f"{real_folder}/{name}"


def _look_at_folder(folder: str) -> tuple[str, frozenset[str]]:
    """Returns the path of a folder without any links, and the names of the links in it.

    Asking for each file apart takes three times as long.
    """
    links: frozenset[str] = frozenset()
    # The folder may be gone since its files were looked at.
    with contextlib.suppress(OSError), os.scandir(folder or "/") as listing:
        links = frozenset(entry.name for entry in listing if entry.is_symlink())
    return os.path.realpath(folder or "/").rstrip("/"), links
