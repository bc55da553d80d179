"""A threshold rule in Python: compares metrics with warning and alert levels, and reports metrics that are missing.

A level may be left at another value than it is entered at (hysteresis), so that an alert does not flap.
"""

import json
import math
import re
from dataclasses import asdict, dataclass
from typing import Any

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.threshold_rule import (
    Finding, Gap, Label, Manifest, Metric, Plan, Problem, Round, Sample, Severity, Subject,
)

LEVEL = {
    "description": "A number, or a number to enter the level at and another to leave it at (hysteresis).",
    "oneOf": [
        {"type": "number"},
        {
            "type": "object",
            "additionalProperties": False,
            "required": ["enter", "clear"],
            "properties": {"enter": {"type": "number"}, "clear": {"type": "number"}},
        },
    ],
}
SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "thresholds": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["metric"],
                "anyOf": [{"required": ["warning"]}, {"required": ["alert"]}],
                "properties": {
                    "metric": {"description": "The full name of one metric.", "type": "string"},
                    "direction": {"description": "The direction in which values are bad.", "enum": ["above", "below"]},
                    "warning": LEVEL,
                    "alert": LEVEL,
                    "missing": {
                        "description": "The severity when the metric is missing.",
                        "enum": ["unknown", "ok", "warning", "alert"],
                    },
                },
            },
        },
        "defaults": {
            "description": "Whether the defaults apply to metrics without a threshold.",
            "type": "boolean",
            "default": True,
        },
    },
}
DEFAULTS = [
    {"metric": "disk", "warning": 80, "alert": 90},
    {"metric": "memory", "warning": 80, "alert": 90},
    {"metric": "active_chunks", "warning": 35, "alert": 40},
    {"metric": "cpu_mean_1m", "warning": 90, "alert": 95},
    {"metric": "inodes", "warning": 80, "alert": 90},
]


class ThresholdRule(exports.ThresholdRule):
    """The exports of the component. componentize-py finds this class by its name."""

    def describe(self) -> Manifest:
        return Manifest(
            name="threshold-python",
            version="1.0.0",
            description="Compares metrics with warning and alert levels. By default: disk, memory and inodes at 80 "
            "and 90 %, the CPU's mean of a minute at 90 and 95 %, work chunks in progress at 35 and 40.",
            settings_schema=json.dumps(SCHEMA),
        )

    def check_settings(self, settings: str) -> Plan:
        try:
            thresholds = read(settings)
        except SettingsError as error:
            raise Err([Problem(error.at, error.what)]) from error
        metrics = [threshold.metric for threshold in thresholds]
        return Plan(metrics=metrics, settings=settings.encode(), effective_settings=effective(settings, thresholds))

    def judge(self, round: Round, settings: bytes) -> list[Finding]:
        try:
            return judge(round, read(settings.decode()))
        except Exception as error:
            # An exception that is not an `Err` would end the call as a trap without a message.
            raise Err(f"{type(error).__name__}: {error}") from error


# The settings.


@dataclass(frozen=True)
class Level:
    """The values at which a level is entered and left."""

    enter: float
    clear: float


@dataclass(frozen=True)
class Threshold:
    """Levels for one metric."""

    metric: str
    direction: str
    warning: Level | None
    alert: Level | None
    missing: str

    def beyond(self, value: float, level: float) -> bool:
        """Whether a value is bad by this level; a value equal to the level is."""
        return value >= level if self.direction == "above" else value <= level

    def severity(self, value: float, entered: float | None) -> Severity:
        """`entered` is the level that the series was in, which is left at its clear value."""

        def holds(level: Level | None, is_in: bool) -> bool:
            return level is not None and self.beyond(value, level.clear if is_in else level.enter)

        in_alert = self.alert is not None and self.alert.enter == entered
        in_warning = self.warning is not None and self.warning.enter == entered
        if holds(self.alert, in_alert):
            return Severity.ALERT
        if holds(self.warning, in_alert or in_warning):
            return Severity.WARNING
        return Severity.OK


class SettingsError(Exception):
    """A problem in the settings: its place as a JSON Pointer, and what to write instead."""

    def __init__(self, at: str, what: str) -> None:
        super().__init__(f"{at}: {what}")
        self.at = at
        self.what = what


def read(settings: str) -> list[Threshold]:
    try:
        given = json.loads(settings)
    except ValueError as error:
        raise SettingsError("", f"this is not JSON: {error}") from error
    listed = fields(given, "", ("thresholds", "defaults")).get("thresholds", [])
    if not isinstance(listed, list):
        raise SettingsError("/thresholds", "write a list of thresholds")
    with_defaults = given.get("defaults", True)
    if not isinstance(with_defaults, bool):
        raise SettingsError("/defaults", "write true or false")
    thresholds = [threshold(entry, f"/thresholds/{at}") for at, entry in enumerate(listed)]
    names = [threshold.metric for threshold in thresholds]
    for at, name in enumerate(names):
        if name in names[:at]:
            first = names.index(name)
            raise SettingsError(f"/thresholds/{at}/metric", f"{name} has a threshold at /thresholds/{first}; merge both")
    # A threshold replaces the default for its metric.
    remaining = [default for default in DEFAULTS if with_defaults and default["metric"] not in names]
    return thresholds + [threshold(default, "") for default in remaining]


def effective(settings: str, thresholds: list[Threshold]) -> str:
    """Settings that mean the same, with the defaults that apply in the list."""
    shown = [{key: value for key, value in asdict(threshold).items() if value is not None} for threshold in thresholds]
    return json.dumps({"defaults": json.loads(settings).get("defaults", True), "thresholds": shown})


def threshold(given: Any, at: str) -> Threshold:
    entry = fields(given, at, ("metric", "direction", "warning", "alert", "missing"))
    metric = entry.get("metric")
    if not isinstance(metric, str) or not re.fullmatch("[A-Za-z_:][A-Za-z0-9_:]{0,199}", metric):
        raise SettingsError(f"{at}/metric", "write the full name of one metric; this rule supports no patterns")
    direction = choice(entry, "direction", ("above", "below"), at)
    warning = level(entry.get("warning"), f"{at}/warning", direction)
    alert = level(entry.get("alert"), f"{at}/alert", direction)
    if warning is None and alert is None:
        raise SettingsError(at, "set a warning level, an alert level, or both")
    if warning and alert and worse(warning.enter, alert.enter, direction):
        raise SettingsError(f"{at}/warning", f"warning level {warning.enter} is beyond alert level {alert.enter}")
    missing = choice(entry, "missing", ("unknown", "ok", "warning", "alert"), at)
    return Threshold(metric, direction, warning, alert, missing)


def level(given: Any, at: str, direction: str) -> Level | None:
    if given is None:
        return None
    if not isinstance(given, dict):
        return Level(number(given, at), number(given, at))
    entry = fields(given, at, ("enter", "clear"))
    found = Level(number(entry.get("enter"), f"{at}/enter"), number(entry.get("clear"), f"{at}/clear"))
    if worse(found.clear, found.enter, direction):
        raise SettingsError(at, f"clear is {found.clear}, which is worse than enter, {found.enter}")
    return found


def worse(one: float, than: float, direction: str) -> bool:
    return one > than if direction == "above" else one < than


def fields(given: Any, at: str, known: tuple[str, ...]) -> dict[str, Any]:
    """Rejects unknown keys: with a misspelt one, a level would silently not apply."""
    if not isinstance(given, dict):
        raise SettingsError(at, f"write an object with {', '.join(known)}")
    for key in given:
        if key not in known:
            place = key.replace("~", "~0").replace("/", "~1")
            raise SettingsError(f"{at}/{place}", f"unknown setting {key}; use {', '.join(known)}")
    return given


def choice(entry: dict[str, Any], key: str, words: tuple[str, ...], at: str) -> str:
    """One of the words; the first one is the default."""
    word = entry.get(key, words[0])
    if word not in words:
        raise SettingsError(f"{at}/{key}", f"write one of {', '.join(words)}")
    return word


def number(given: Any, at: str) -> float:
    # Python reads `True` as a number, and `1e999` as infinity, which the host would refuse.
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not math.isfinite(given):
        raise SettingsError(at, "write a number")
    return float(given)


# The judgement.


def judge(round: Round, thresholds: list[Threshold]) -> list[Finding]:
    metrics = {metric.name: metric for metric in round.metrics}
    entered = {
        series(finding.subject.metric, finding.subject.labels): finding.limit
        for finding in round.last
        if finding.severity is not Severity.OK
    }
    findings: list[Finding] = []
    for threshold in thresholds:
        shown: set[str] = set()
        metric = metrics.get(threshold.metric)
        for sample in metric.samples if metric else []:
            name = series(metric.name, sample.labels)
            shown.add(name)
            severity = threshold.severity(sample.value, entered.get(name))
            findings.append(found(threshold, metric, sample, severity))
        findings.extend(absent(threshold, shown, entered, round))
    return findings


def found(threshold: Threshold, metric: Metric, sample: Sample, severity: Severity) -> Finding:
    level = threshold.alert if severity is Severity.ALERT else threshold.warning or threshold.alert
    message = ""
    if severity is not Severity.OK:
        unit = {"": "", "percent": " %"}.get(metric.unit, f" {metric.unit}")
        message = (
            f"{series(metric.name, sample.labels)} is {short(sample.value)}{unit}, at or {threshold.direction} "
            f"the {severity.name.lower()} level of {short(level.enter)}{unit}"
        )
    return Finding(Subject(metric.name, sample.labels), severity, sample.value, level.enter, message)


def absent(threshold: Threshold, shown: set[str], entered: dict[str, float | None], round: Round) -> list[Finding]:
    """Findings about what is missing: series of the last round that a gap explains, or the metric as a whole. A series
    that is missing without a gap no longer exists, like an unmounted disk, and has no finding. A missing series keeps
    the level that it had entered."""
    if threshold.missing == "ok":
        return []
    gap = next((gap for gap in round.gaps if covers(gap, threshold.metric)), None)
    last = [finding.subject for finding in round.last if finding.subject.metric == threshold.metric]
    lost = [subject for subject in last if gap and subject.labels and series(subject.metric, subject.labels) not in shown]
    if not shown and not lost:
        lost = [Subject(threshold.metric, [])]
    why = f"could not be measured: {gap.source}: {gap.reason}" if gap else "is not measured; enable its source"
    severity = Severity[threshold.missing.upper()]
    names = [series(subject.metric, subject.labels) for subject in lost]
    return [
        Finding(subject, severity, None, entered.get(name), f"{name} {why}") for subject, name in zip(lost, names)
    ]


def covers(gap: Gap, metric: str) -> bool:
    return any(metric.startswith(name[:-1]) if name.endswith("*") else metric == name for name in gap.metrics)


def series(metric: str, labels: list[Label]) -> str:
    """A metric and its labels in the notation of Prometheus: `disk{mountpoint="/"}`."""
    pairs = ",".join(f"{label.name}={json.dumps(label.value, ensure_ascii=False)}" for label in labels)
    return f"{metric}{{{pairs}}}" if pairs else metric


def short(value: float) -> str:
    """Rounds to two decimals, without trailing zeros."""
    return f"{value:.2f}".rstrip("0").rstrip(".")
