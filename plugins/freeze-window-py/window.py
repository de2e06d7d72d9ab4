"""What is decided, apart from the contract: `python3 -m unittest` runs it as it is."""

from datetime import datetime, timedelta, timezone

WEEKDAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]

_INSTANT = {"type": "string", "description": "RFC 3339 with an offset, such as 2026-12-20T00:00:00Z."}
SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        "answer": {"enum": ["hold", "deny"], "default": "hold", "description": "What a build is told when it is closed."},
        "utc_offset_minutes": {"type": "integer", "minimum": -1440, "maximum": 1440, "default": 0},
        "open_weekdays": {"type": "array", "items": {"enum": WEEKDAYS}, "minItems": 1, "default": WEEKDAYS},
        "open_hours": {
            "type": "object",
            "description": "From this hour until just before that one; past midnight if `to` is not above `from`.",
            "properties": {
                "from": {"type": "integer", "minimum": 0, "maximum": 23},
                "to": {"type": "integer", "minimum": 1, "maximum": 24},
            },
            "required": ["from", "to"],
            "additionalProperties": False,
        },
        "freezes": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"from": _INSTANT, "to": _INSTANT, "reason": {"type": "string"}},
                "required": ["from", "to"],
                "additionalProperties": False,
            },
            "default": [],
        },
        "exempt_subjects": {"type": "array", "items": {"type": "string"}, "default": []},
    },
    "additionalProperties": False,
}


def problems(settings: dict) -> list[tuple[str, str]]:
    """What the schema cannot say of a configuration, as JSON Pointers and messages."""
    found = []
    for index, freeze in enumerate(settings.get("freezes", [])):
        times = {}
        for end in ("from", "to"):
            try:
                times[end] = _instant(freeze[end])
            except ValueError as error:
                found.append((f"/freezes/{index}/{end}", f"RFC 3339 with an offset, such as 2026-12-20T00:00:00Z: {error}"))
        if len(times) == 2 and times["from"] >= times["to"]:
            found.append((f"/freezes/{index}/to", "later than `from`"))
    return found


def closed(settings: dict, subject: str, submitted_at_ms: int) -> str | None:
    """Why no build may run that was submitted then; None if it may."""
    if subject in settings.get("exempt_subjects", []):
        return None
    then = datetime.fromtimestamp(submitted_at_ms / 1000, timezone.utc)
    for freeze in settings.get("freezes", []):
        if _instant(freeze["from"]) <= then < _instant(freeze["to"]):
            reason = freeze.get("reason", "no builds")
            return f"frozen until {freeze['to']}: {reason}"

    local = then + timedelta(minutes=settings.get("utc_offset_minutes", 0))
    weekdays = settings.get("open_weekdays", WEEKDAYS)
    if WEEKDAYS[local.weekday()] not in weekdays:
        return f"builds run on {', '.join(weekdays)}, and this was submitted on {WEEKDAYS[local.weekday()]}"
    hours = settings.get("open_hours")
    if hours and not _within(local.hour, hours["from"], hours["to"]):
        return f"builds run from {hours['from']}:00 to {hours['to']}:00, and this was submitted at {local:%H:%M}"
    return None


def _within(hour: int, start: int, end: int) -> bool:
    return start <= hour < end if start < end else hour >= start or hour < end


def _instant(text: str) -> datetime:
    # Python 3.11 reads the Z, earlier ones do not.
    instant = datetime.fromisoformat(text.replace("Z", "+00:00"))
    if instant.tzinfo is None:
        raise ValueError("no offset")
    return instant
