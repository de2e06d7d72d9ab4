import unittest
from datetime import datetime

import window

SETTINGS = {
    "utc_offset_minutes": 60,
    "open_weekdays": ["mon", "tue", "wed", "thu", "fri"],
    "open_hours": {"from": 8, "to": 18},
    "freezes": [{"from": "2026-12-20T00:00:00Z", "to": "2027-01-04T00:00:00+01:00", "reason": "end of the year"}],
    "exempt_subjects": ["on-call"],
}


def closed(text: str, subject: str = "ann", **changes) -> str | None:
    at_ms = int(datetime.fromisoformat(text).timestamp() * 1000)
    return window.closed({**SETTINGS, **changes}, subject, at_ms)


class Window(unittest.TestCase):
    def test_hours_are_local_and_end_just_before_the_last(self):
        self.assertIsNone(closed("2026-03-02T07:00:00+00:00"))
        self.assertIsNone(closed("2026-03-02T16:59:59+00:00"))
        self.assertIn("submitted at 18:00", closed("2026-03-02T17:00:00+00:00"))
        self.assertIn("submitted at 07:59", closed("2026-03-02T06:59:00+00:00"))

    def test_a_weekend_is_closed_by_the_local_date(self):
        self.assertIn("submitted on sat", closed("2026-03-06T23:30:00+00:00"))
        self.assertIn("submitted on sun", closed("2026-03-08T10:00:00+00:00"))

    def test_a_freeze_says_why_and_ends_on_the_instant(self):
        self.assertEqual(closed("2026-12-22T10:00:00+00:00"), "frozen until 2027-01-04T00:00:00+01:00: end of the year")
        self.assertNotIn("frozen", closed("2027-01-03T23:00:00+00:00"))

    def test_an_exempt_subject_always_may(self):
        self.assertIsNone(closed("2026-12-22T03:00:00+00:00", subject="on-call"))

    def test_hours_may_go_past_midnight(self):
        night = {"from": 22, "to": 6}
        self.assertIsNone(closed("2026-03-02T23:00:00+01:00", open_hours=night))
        self.assertIsNone(closed("2026-03-03T05:59:00+01:00", open_hours=night))
        self.assertIsNotNone(closed("2026-03-03T06:00:00+01:00", open_hours=night))

    def test_no_settings_close_nothing(self):
        self.assertIsNone(window.closed({}, "ann", 0))

    def test_a_time_without_an_offset_and_a_freeze_that_ends_before_it_begins_are_problems(self):
        self.assertEqual(window.problems(SETTINGS), [])
        wrong = [{"from": "2026-12-20T00:00:00", "to": "soon"}, {"from": "2026-12-20T00:00:00Z", "to": "2026-12-19T00:00:00Z"}]
        paths = [path for path, _ in window.problems({"freezes": wrong})]
        self.assertEqual(paths, ["/freezes/0/from", "/freezes/0/to", "/freezes/1/to"])


if __name__ == "__main__":
    unittest.main()
