#!/usr/bin/env python3
"""Tests of how claims are counted and told: python3 acceptance/harness/test_claims.py"""
import contextlib, io, os, sys, unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from harness import claims
from harness.claims import Skipped, check, chosen, claim, expect, holds, skip


class Claims(unittest.TestCase):
    def setUp(self):
        claims.CHECKS.clear()
        claims.COUNTS.update(passed=0, failed=0, skipped=0)
        self.ci = os.environ.pop("CI", None)

    def tearDown(self):
        if self.ci is not None:
            os.environ["CI"] = self.ci

    def ran(self, *patterns, **how):
        told = io.StringIO()
        with contextlib.redirect_stdout(told):
            claims.run(chosen(patterns), **how)
        return claims.closing_line(claims.COUNTS), told.getvalue()

    def test_what_does_not_hold_yet_is_told_with_why_and_has_to_leave_the_list_when_it_holds(self):
        @claim
        def the_sea_is_dry():
            assert False

        @claim
        def the_sea_is_wet():
            pass

        listed = "# later\nthe sea is dry | any | tides\nthe sea is wet | root | tides\n"
        claims.not_yet(listed, "root", chosen([]))
        self.assertRaises(AssertionError, claims.not_yet, "the sea is warm | user | winter\n", "root", chosen([]))
        counts, told = self.ran()
        claims.NOT_YET.clear()
        self.assertEqual(counts, "0 passed, 1 failed, 1 skipped")
        self.assertIn("NOT YET the sea is dry: tides\n", told)
        self.assertIn("FAILED  the sea is wet: it holds, so", told)

    def test_a_check_without_a_claim_inside_is_one_claim_named_like_its_function(self):
        @claim
        def the_sky_is_blue():
            pass

        @claim
        def the_sky_is_green():
            assert "sky" == "green"

        counts, told = self.ran()
        self.assertEqual(counts, "1 passed, 1 failed, 0 skipped")
        self.assertIn("ok      the sky is blue\n", told)
        self.assertIn("FAILED  the sky is green\n", told)
        self.assertIn('assert "sky" == "green"', told)

    def test_a_claim_that_fails_does_not_keep_the_next_ones_from_being_made(self):
        @check("weather")
        def _():
            with claim("it rains"):
                raise OSError("no weather")
            with claim("it snows"):
                pass
            holds("it hails", 0, "seen: sunshine")

        counts, told = self.ran()
        self.assertEqual(counts, "1 passed, 2 failed, 0 skipped")
        self.assertIn("OSError: no weather", told)
        self.assertIn("FAILED  it hails\n        seen: sunshine\n", told)

    def test_a_check_that_breaks_between_its_claims_fails(self):
        @check("weather")
        def _():
            with claim("it rains"):
                pass
            raise OSError("the instrument broke")

        counts, told = self.ran()
        self.assertEqual(counts, "1 passed, 1 failed, 0 skipped")
        self.assertIn("FAILED  weather: ran\n", told)

    def test_what_is_not_here_is_skipped_by_name_but_not_in_ci_where_it_can_be_installed(self):
        @claim
        def it_snows():
            raise Skipped("no snow gun", installable=True)

        check("it is night", lambda: skip("it is night", "the sun shines"))
        counts, told = self.ran()
        self.assertEqual(counts, "0 passed, 0 failed, 2 skipped")
        self.assertIn("SKIPPED it snows: no snow gun\n", told)
        os.environ["CI"] = "true"
        try:
            counts, told = self.ran()
        finally:
            del os.environ["CI"]
        self.assertEqual(counts, "0 passed, 1 failed, 3 skipped")
        self.assertIn("FAILED  it snows\n        skipped in CI: no snow gun\n", told)

    def test_checks_are_chosen_by_part_of_their_name_or_by_their_number(self):
        for name in (" 3 a knock", "30 a shout of 3", "a whisper"):
            check(name, lambda: None)
        self.assertEqual(list(chosen(["3"])), [" 3 a knock"])
        self.assertEqual(list(chosen(["A_SHOUT", "whisper"])), ["30 a shout of 3", "a whisper"])
        self.assertEqual(len(chosen([])), 3)
        with self.assertRaises(AssertionError):
            check("a whisper", lambda: None)

    def test_each_check_begins_anew_also_beside_others(self):
        prepared = []
        for i in range(8):
            check(f"number {i}", lambda i=i: expect(i != 5, "five"))
        counts, told = self.ran(before=lambda: prepared.append(1), jobs=3)
        self.assertEqual((counts, len(prepared)), ("7 passed, 1 failed, 0 skipped", 8))
        self.assertIn("FAILED  number 5\n        five\n", told)


if __name__ == "__main__":
    unittest.main()
