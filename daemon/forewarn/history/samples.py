"""Readings that come one number at a time, each with what tells its series apart, joined to rows.

So come long tables (a column of metrics beside one of values), the tables of InfluxDB and the series of Prometheus.

Rules that hold here:

- The readings of a device with the same time make one row, NaN where a metric has none.
- No two series become one: where the labels that name device and metric do not tell them apart, that is an error.
- Rows of one series keep their order. Series that follow one another are put in order of time.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from forewarn.errors import DataError
from forewarn.history.columns import DEVICE_NAMES, DEVICE_NAMES_OF_TEXT, Choice, known
from forewarn.history.history import History, parse_number, parse_time

Labels = Mapping[str, str]
_DEVICE_LABELS = (*DEVICE_NAMES, *DEVICE_NAMES_OF_TEXT, "entity_id", "entity", "instance", "host")
MEASUREMENT, METRIC_NAME = "_measurement", "__name__"
_NEVER_DEVICES = frozenset({MEASUREMENT, METRIC_NAME, "metric", "job", "result"})


class Sample(NamedTuple):
    """One number: its time and itself as text, the labels of its series, and what it is of."""

    time: str
    labels: Labels
    metric: str
    value: str


def history_of(path: Path, sha256: str, samples: Iterable[Sample], choice: Choice, *, ordered: bool = False) -> History:
    """One row for each device and time.

    Args:
        path: what errors name.
        sha256: of what was read.
        samples: in any order; samples of one series share one mapping of labels.
        choice: of device, metric, features and target.
        ordered: whether rows stay in the order of their first samples.

    Raises:
        DataError: naming the labels that are there, and the option that chooses among them.
    """
    read = list(samples)
    labels = list({id(sample.labels): sample.labels for sample in read}.values())
    if not read:
        raise DataError(f"{path}: holds no readings: at least one is needed")
    metric = _metrics(path, read, labels, choice.metric_column)
    there = sorted(set(metric))
    features, target = choice.features_of(path, there, "metric")
    wanted = {name: i for i, name in enumerate(features)}
    chosen = [i for i, name in enumerate(metric) if name in wanted]
    devices = _devices(path, [read[i].labels for i in chosen], choice.device_column)
    _check_apart(path, [(read[i].labels, metric[i]) for i in chosen], devices)
    rows: dict[tuple[str, str], int] = {}
    place = [rows.setdefault((devices[id(read[i].labels)], read[i].time), len(rows)) for i in chosen]
    values = np.full((len(rows), len(features)), np.nan)
    values[place, [wanted[metric[i]] for i in chosen]] = [parse_number(read[i].value) for i in chosen]
    device, text = [key[0] for key in rows], [key[1] for key in rows]
    at = np.array([parse_time(one) for one in text])
    order = np.arange(len(at)) if ordered else np.argsort(at, kind="stable")
    return History(
        path, sha256, [text[i] for i in order], [device[i] for i in order], at[order], values[order], features, target
    ).checked("time")


def _metrics(path: Path, read: Sequence[Sample], labels: Sequence[Labels], asked: str | None) -> list[str]:
    """What each sample is of."""
    if asked is None:
        return [sample.metric for sample in read]
    known(path, asked, sorted({name for one in labels for name in one}), "label", "--metric-column")
    return [sample.labels.get(asked, "") for sample in read]


def _devices(path: Path, used: Iterable[Labels], asked: str | None) -> dict[int, str]:
    """The device of each mapping of labels, by its identity; the stem of the path where no label tells devices."""
    labels = {id(one): one for one in used}
    names = {name for one in labels.values() for name in one}
    if asked is not None:
        label: str | None = known(path, asked, sorted(names), "label", "--device-column")
    else:
        lower = {name.lower(): name for name in sorted(names, reverse=True)}
        label = next((lower[name] for name in _DEVICE_LABELS if name in lower), None) or _only_varying(path, labels)
    return {key: one.get(label, "") if label else path.stem for key, one in labels.items()}


def _only_varying(path: Path, labels: Mapping[int, Labels]) -> str | None:
    names = sorted({name for one in labels.values() for name in one} - _NEVER_DEVICES)
    varying = [name for name in names if len({one.get(name) for one in labels.values()}) > 1]
    if len(varying) > 1:
        raise DataError(f"{path}: which label is the device? Give --device-column, one of {', '.join(varying)}")
    return varying[0] if varying else None


def _check_apart(path: Path, series: Iterable[tuple[Labels, str]], devices: Mapping[int, str]) -> None:
    owner: dict[tuple[str, str], Labels] = {}
    seen: set[tuple[int, str]] = set()
    for labels, metric in series:
        if (id(labels), metric) in seen:
            continue
        seen.add((id(labels), metric))
        device = devices[id(labels)]
        other = owner.setdefault((device, metric), labels)
        differing = sorted(name for name in {*labels, *other} if labels.get(name) != other.get(name))
        if differing:
            raise DataError(
                f"{path}: two series are both {metric!r} of {device!r}; they differ in {', '.join(differing)}. Say "
                "with --device-column or --metric-column which label tells them apart, or ask for fewer series"
            )
