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

test_workbooks_and_csv_files_are if {
	every path in ["/workspace/out/a.xlsx", "/workspace/out/A.CSV"] {
		not data.chaperone.spreadsheet.decision with input as object.union(base, {"action": "commit", "path": path, "change": {"kind": "file"}})
	}
}

test_a_link_is_not_a_workbook if {
	d := data.chaperone.spreadsheet.decision with input as object.union(base, {"action": "commit", "path": "/workspace/out/a", "change": {"kind": "symlink"}})
	d.effect == "deny"
}

test_folders_and_removals_are_committed if {
	every change in [{"kind": "dir"}, {"kind": "file", "op": "delete"}] {
		not data.chaperone.spreadsheet.decision with input as object.union(base, {"action": "commit", "path": "/workspace/out/a", "change": change})
	}
}

test_other_profiles_are_not_spoken_of if {
	other := {"path": "/workspace/reports/a.txt", "session": {"profile": "default"}}
	not data.chaperone.spreadsheet.decision with input as object.union(base, other)
}
