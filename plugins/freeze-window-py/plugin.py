"""No builds in given hours and on given dates; as a plugin in Python.

    [plugin.config]
    answer = "hold"                     # or "deny"
    utc_offset_minutes = 60             # of the hours and weekdays below
    open_weekdays = ["mon", "tue", "wed", "thu", "fri"]
    open_hours = { from = 8, to = 18 }  # from 8:00 until just before 18:00
    freezes = [{ from = "2026-12-20T00:00:00Z", to = "2027-01-04T00:00:00Z", reason = "end of the year" }]
    exempt_subjects = ["on-call"]

The time is that of the submission, never a clock's: a dry run and a retry decide alike.

The contract's interfaces are classes here; a result's error is raised. What is decided is in `window.py`, which knows nothing
of the contract.
"""

import json

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports import describe
from wit_world.imports.types import Verdict, Verdict_Allow, Verdict_Deny, Verdict_Hold, Violation

import window


class Describe(exports.Describe):
    def describe(self) -> describe.Description:
        return describe.Description(
            name="freeze-window-py",
            version="0.1.0",
            summary="No builds in given hours and on given dates",
            config_schema=json.dumps(window.SCHEMA),
        )

    def check_config(self, config: str) -> None:
        problems = window.problems(json.loads(config))
        if problems:
            raise Err([describe.ConfigProblem(path, message) for path, message in problems])


class Validate(exports.Validate):
    def validate(self, config: str, caller, request) -> Verdict:
        settings = json.loads(config)
        reason = window.closed(settings, caller.subject, caller.submitted_at_ms)
        if reason is None:
            return Verdict_Allow([])
        if settings.get("answer", "hold") == "deny":
            return Verdict_Deny([Violation("", reason)])
        return Verdict_Hold(reason)
