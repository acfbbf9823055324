# The spreadsheet profile: CSV reports in, workbooks out.
package chaperone.spreadsheet

import rego.v1

path := lower(input.path)

decision := {
	"effect": "deny",
	"reasons": ["not_a_report"],
	"advice": "this profile reads CSV files below /workspace/reports",
} if {
	input.session.profile == "spreadsheet"
	input.action == "read"
	startswith(path, "/workspace/reports/")
	not endswith(path, ".csv")
}

decision := {
	"effect": "deny",
	"reasons": ["not_a_workbook"],
	"advice": "this profile writes .xlsx and .csv files below /workspace/out",
} if {
	input.session.profile == "spreadsheet"
	input.action == "commit"
	not removal_or_folder
	not endswith(path, ".xlsx")
	not endswith(path, ".csv")
}

removal_or_folder if input.change.op == "delete"

removal_or_folder if input.change.kind == "dir"
