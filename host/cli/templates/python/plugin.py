"""{{name}}: a plugin of the Ignite build gateway. What each type and limit means stands in `wit/`.

An interface of the contract is a class, its functions are methods; the error of a result is raised.
"""

import json

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports import describe
//@ rewrite validate inspect redact
from wit_world.imports.{{types}} import Label, Verdict, Verdict_Allow, Verdict_Deny, Violation
//@ end
//@ inspect
from wit_world.exports import inspect
//@ end
//@ notify
from wit_world.exports import notify

import http_post
//@ end
//@ redact
from wit_world.exports import redact
//@ end
//@ redact-scan
from wit_world.exports import redact_scan
//@ end
//@ rewrite
from wit_world.exports import rewrite
//@ end

SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        "label": {"type": "string", "minLength": 1, "default": "owner", "description": "The label that says whose a build is."},
        "url": {"type": "string", "pattern": "^https?://[^/]+", "description": "Where announcements go."},
    },
    "additionalProperties": False,
}


def read(config: str) -> dict:
    """The policy's [plugin.config], with what it leaves out."""
    return {"label": "owner", **json.loads(config)}


class Describe(exports.Describe):
    def describe(self) -> describe.Description:
        return describe.Description(
            name="{{name}}",
            version="0.1.0",
            summary="What {{name}} does, in one line",
            config_schema=json.dumps(SCHEMA),
        )

    def check_config(self, config: str) -> None:
        """What a schema cannot say belongs here."""
        if any(c.isspace() for c in read(config)["label"]):
            raise Err([describe.ConfigProblem("/label", "must be a label's key, without white space")])
//@ rewrite


class Rewrite(exports.Rewrite):
    def rewrite(self, config: str, caller, request) -> rewrite.Changes:
        """A build that does not say whose it is belongs to who sent it."""
        key = read(config)["label"]
        changes = []
        if not any(label.key == key for label in request.labels):
            changes.append(rewrite.Change_SetLabel(Label(key, caller.subject)))
        return rewrite.Changes(changes=changes, warnings=[])
//@ end
//@ validate


class Validate(exports.Validate):
    def validate(self, config: str, caller, request) -> Verdict:
        """Every build says whose it is."""
        key = read(config)["label"]
        if any(label.key == key for label in request.labels):
            return Verdict_Allow([])
        return Verdict_Deny([Violation(f'labels["{key}"]', "is missing: say whose build it is")])
//@ end
//@ inspect


def is_fixed(image: str) -> bool:
    """A colon before the last slash is a port's."""
    _, colon, tag = image.rsplit("/", 1)[-1].partition(":")
    return "@" in image or (colon == ":" and tag != "latest")


class Inspect(exports.Inspect):
    def inspect(self, config: str, caller, request, found: inspect.Found) -> Verdict:
        """No stage starts from an image that may be another one tomorrow."""
        violations = []
        for stage in found.dockerfile.stages:
            field, base = f"dockerfile:{stage.line}", stage.base
            if isinstance(base, inspect.Base_Image) and not is_fixed(base.value):
                violations.append(Violation(field, f"{base.value} needs a tag other than latest"))
            elif isinstance(base, inspect.Base_Unresolved):
                violations.append(Violation(field, f"{base.value} cannot be known before the build"))
        return Verdict_Deny(violations) if violations else Verdict_Allow([])
//@ end
//@ redact


class Redact(exports.Redact):
    def rules(self, config: str, caller, request) -> list[redact.Rule]:
        """The gateway looks for these in the log, at its own speed."""
        pattern = redact.Pattern_Expression(redact.Expression(text="tok_[0-9a-z]{16}", length_max=20))
        return [redact.Rule(name="token", pattern=pattern, replacement="[token]")]
//@ end
//@ redact-scan

START = b"password: "


class RedactScan(exports.RedactScan):
    def scan(self, config: str, lines: bytes) -> list[redact_scan.Range]:
        """What stands behind `password: ` at the start of a line. Slower than rules: the log comes in here."""
        ranges, start = [], 0
        for line in lines.split(b"\n"):
            if line.startswith(START) and len(line) > len(START):
                ranges.append(redact_scan.Range(start + len(START), start + len(line)))
            start += len(line) + 1
        return ranges
//@ end
//@ notify


class Notify(exports.Notify):
    def notify(self, config: str, delivery: notify.Delivery, build: notify.FinishedBuild) -> None:
        """POSTs the end of a build as JSON to the configured URL, whose host the policy must grant."""
        body = {
            "key": delivery.idempotency_key,
            "build": build.id,
            "name": build.name,
            "status": build.status.name.lower(),
            "images": build.image_refs,
        }
        url = read(config).get("url")
        if url is None:
            print(json.dumps(body))
            return
        try:
            status = http_post.post(url, json.dumps(body).encode())
        except http_post.Unreachable as error:
            raise Err(notify.Failure_Again(f"{url}: {error}")) from None
        if 200 <= status < 300:
            return
        kind = notify.Failure_Again if status in (408, 429) or status >= 500 else notify.Failure_Never
        raise Err(kind(f"{url} answered {status}"))
//@ end
