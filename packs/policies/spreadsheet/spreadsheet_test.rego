package chaperone.spreadsheet_test

import rego.v1

base := {"action": "read", "path": "/workspace/reports/a.csv", "session": {"profile": "spreadsheet"}}

test_reports_are_csv if not data.chaperone.spreadsheet.decision with input as base

test_other_files_are_not_reports if {
	d := data.chaperone.spreadsheet.decision with input as object.union(base, {"path": "/workspace/reports/a.sqlite"})
	d.reasons == ["not_a_report"]
}

test_only_workbooks_are_committed if {
	d := data.chaperone.spreadsheet.decision with input as object.union(base, {"action": "commit", "path": "/workspace/out/a.sh", "change": {"kind": "file"}})
	d.reasons == ["not_a_workbook"]
}
