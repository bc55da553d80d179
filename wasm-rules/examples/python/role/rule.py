"""A role rule in Python: identities have roles, roles have actions, and `while` clauses deny actions while something is
not ok. Unknown settings are rejected, and an action that no role grants is denied."""

import json
from typing import Any

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.role_rule import (
    Certificate, Decision, Identity, Identity_Anonymous, Identity_Certificate, Identity_Token, Label, Manifest, Plan,
    Problem, Request, Severity, Standing,
)

# The role of every client.
ANONYMOUS = "anonymous"

TEXTS = {"type": "array", "items": {"type": "string"}}
SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "identities": {
            "description": "The roles of identities. An identity has the roles of every entry that matches it.",
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["match", "roles"],
                "properties": {
                    "match": {
                        "description": "Every field that is set must match exactly.",
                        "type": "object",
                        "additionalProperties": False,
                        "minProperties": 1,
                        "properties": {
                            "token": {"type": "string"},
                            "issuer": {"description": "In the notation of RFC 4514.", "type": "string"},
                            "attributes": {"type": "object", "additionalProperties": {"type": "string"}},
                        },
                    },
                    "roles": TEXTS,
                },
            },
        },
        "roles": {
            "description": "The actions of each role, or * for all actions. Every client has the role anonymous.",
            "type": "object",
            "additionalProperties": TEXTS,
        },
        "while": {
            "description": "Actions that are denied while something is not ok.",
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["metric", "at_least", "deny"],
                "properties": {
                    "metric": {"description": "The full name of one metric.", "type": "string"},
                    "at_least": {"enum": ["unknown", "warning", "alert"]},
                    "deny": TEXTS,
                    "except": TEXTS,
                    "reason": {"description": "The reason in the response to a denied request.", "type": "string"},
                },
            },
        },
    },
}

READER = [
    "health.read", "service.read", "docs.read", "metrics.read", "history.read", "chunks.read", "alerts.read",
    "sessions.read", "rules.read",
]
DEFAULTS: dict[str, Any] = {
    "identities": [],
    "roles": {
        ANONYMOUS: ["health.read", "service.read", "docs.read"],
        "reader": READER,
        "user": [*READER, "alerts.silence", "sessions.run", "chunks.write"],
        "agent": ["metrics.push", "chunks.read", "chunks.write"],
        "admin": ["*"],
    },
    "while": [],
}


class RoleRule(exports.RoleRule):
    """The exports of the component. componentize-py finds this class by its name."""

    def describe(self) -> Manifest:
        return Manifest(
            name="role-python",
            version="1.0.0",
            description="Gives roles to identities and actions to roles, and denies actions while something is "
            "not ok.",
            settings_schema=json.dumps(SCHEMA),
        )

    def check_settings(self, settings: str, actions: list[str]) -> Plan:
        try:
            checked = check(settings, actions)
        except SettingsError as error:
            raise Err([Problem(error.at, error.what)]) from error
        metrics = sorted({clause["metric"] for clause in checked["while"]})
        text = json.dumps(checked)
        return Plan(metrics=metrics, settings=text.encode(), effective_settings=text)

    def decide(self, request: Request, standings: list[Standing], settings: bytes) -> Decision:
        try:
            return decide(request, standings, json.loads(settings))
        except Exception as error:
            # An exception that is not an `Err` would be a trap without a message. The host denies either way.
            raise Err(f"{type(error).__name__}: {error}") from error


# The settings. Roles extend the built-in ones, and replace one of the same name.


class SettingsError(Exception):
    """A problem in the settings: its place as a JSON Pointer, and what to write instead."""

    def __init__(self, at: str, what: str) -> None:
        super().__init__(f"{at}: {what}")
        self.at = at
        self.what = what


def check(settings: str, actions: list[str]) -> dict[str, Any]:
    """The checked settings with every default filled in."""
    try:
        given = json.loads(settings)
    except ValueError as error:
        raise SettingsError("", f"this is not JSON: {error}") from error
    checked = DEFAULTS | fields(given, "", ("identities", "roles", "while"))
    for role, granted in mapping(given.get("roles", {}), "/roles").items():
        check_names(granted, f"/roles/{pointer(role)}", ["*", *actions], "action")
    roles = checked["roles"] = DEFAULTS["roles"] | given.get("roles", {})
    for at, entry in enumerate(items(checked["identities"], "/identities")):
        check_entry(entry, f"/identities/{at}", roles)
    for at, clause in enumerate(items(checked["while"], "/while")):
        check_clause(clause, f"/while/{at}", roles, actions)
    return checked


def check_entry(entry: Any, at: str, roles: dict[str, Any]) -> None:
    fields(entry, at, ("match", "roles"), required=("match", "roles"))
    match = fields(entry["match"], f"{at}/match", ("token", "issuer", "attributes"))
    for key in match.keys() & {"token", "issuer"}:
        text(match[key], f"{at}/match/{key}")
    attributes = mapping(match.get("attributes", {}), f"{at}/match/attributes")
    for kind, value in attributes.items():
        text(value, f"{at}/match/attributes/{pointer(kind)}")
    if not match.keys() & {"token", "issuer"} and not attributes:
        raise SettingsError(f"{at}/match", "match at least one field; every client has the role anonymous anyway")
    check_names(entry["roles"], f"{at}/roles", list(roles), "role")


def check_clause(clause: Any, at: str, roles: dict[str, Any], actions: list[str]) -> None:
    fields(clause, at, ("metric", "at_least", "deny", "except", "reason"), required=("metric", "at_least", "deny"))
    # A pattern would be read as a name that no metric has, and so deny nothing.
    if "*" in text(clause["metric"], f"{at}/metric"):
        raise SettingsError(f"{at}/metric", "write the full name of one metric; this rule supports no patterns")
    if clause["at_least"] not in ("unknown", "warning", "alert"):
        raise SettingsError(f"{at}/at_least", "write one of unknown, warning, alert")
    check_names(clause["deny"], f"{at}/deny", ["*", *actions], "action")
    if not clause["deny"]:
        raise SettingsError(f"{at}/deny", "name the actions to deny")
    check_names(clause.get("except", []), f"{at}/except", list(roles), "role")
    text(clause.get("reason", "-"), f"{at}/reason")


def fields(given: Any, at: str, known: tuple[str, ...], required: tuple[str, ...] = ()) -> dict[str, Any]:
    for key in mapping(given, at):
        if key not in known:
            raise SettingsError(f"{at}/{pointer(key)}", f"unknown setting {key}; use {', '.join(known)}")
    for key in required:
        if key not in given:
            raise SettingsError(at, f"{key} is required")
    return given


def check_names(given: Any, at: str, known: list[str], kind: str) -> None:
    for index, name in enumerate(items(given, at)):
        if name not in known:
            raise SettingsError(f"{at}/{index}", f"unknown {kind} {name}; use one of {', '.join(known)}")


def mapping(given: Any, at: str) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise SettingsError(at, "write an object")
    return given


def items(given: Any, at: str) -> list[Any]:
    if not isinstance(given, list):
        raise SettingsError(at, "write a list")
    return given


def text(given: Any, at: str) -> str:
    if not isinstance(given, str):
        raise SettingsError(at, "write a text")
    return given


def pointer(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


# The decision.


def decide(request: Request, standings: list[Standing], settings: dict[str, Any]) -> Decision:
    roles = roles_of(request, settings)
    granted = [action for role in roles for action in settings["roles"].get(role, [])]
    if not names(granted, request.action):
        return Decision(False, roles, not_granted(request, roles))
    for clause in settings["while"]:
        excepted = any(role in clause.get("except", []) for role in roles)
        standing = next((standing for standing in standings if holds(clause, standing)), None)
        if standing and names(clause["deny"], request.action) and not excepted:
            return Decision(False, roles, denied_by_clause(request, clause, standing))
    return Decision(True, roles, "")


def roles_of(request: Request, settings: dict[str, Any]) -> list[str]:
    """Each role once: those that the server assigns, and those of the settings. A limited proxy has none of them."""
    identity = request.identity
    if Label("proxy", "limited") in request.facts:
        return [ANONYMOUS]
    roles = [role for role in request.assigned_roles if role in settings["roles"]]
    for entry in settings["identities"]:
        if matches(identity, entry["match"]):
            roles += entry["roles"]
    return [*dict.fromkeys(role for role in roles if role != ANONYMOUS), ANONYMOUS]


def matches(identity: Identity, match: dict[str, Any]) -> bool:
    """Every field that is set must match; a token has no issuer and no attributes."""
    if isinstance(identity, Identity_Token):
        return match == {"token": identity.value}
    if isinstance(identity, Identity_Certificate):
        certificate = identity.value
        return (
            "token" not in match
            and match.get("issuer", certificate.issuer) == certificate.issuer
            and all(has(certificate, kind, value) for kind, value in match.get("attributes", {}).items())
        )
    return False


def has(certificate: Certificate, kind: str, value: str) -> bool:
    # Compares parsed attributes, because a value in the text of the subject may look like another attribute.
    return Label(kind, value) in certificate.subject_attributes


def names(actions: list[str], action: str) -> bool:
    return "*" in actions or action in actions


def holds(clause: dict[str, Any], standing: Standing) -> bool:
    at_least = Severity[clause["at_least"].upper()]
    return standing.subject.metric == clause["metric"] and standing.severity.value >= at_least.value


def not_granted(request: Request, roles: list[str]) -> str:
    action = request.action
    if isinstance(request.identity, Identity_Anonymous):
        return f"anonymous clients may not do {action}; present a client certificate or a token"
    identity = request.identity.value
    client = identity.subject if isinstance(identity, Certificate) else f"the token {identity}"
    named = [role for role in roles if role != ANONYMOUS]
    if not named:
        return f"{client} has no role here, and {action} needs one"
    return f"{client} has the role {', '.join(named)}, which does not allow {action}"


def denied_by_clause(request: Request, clause: dict[str, Any], standing: Standing) -> str:
    reason = clause.get("reason", f"{request.action} is not allowed meanwhile")
    return f"{standing.subject.metric} is in {standing.severity.name.lower()}: {reason}"
