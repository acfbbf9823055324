package chaperone.default_test

import rego.v1

base := {
	"action": "read", "path": "/workspace/notes.txt", "content": true, "inspected": true, "findings": [],
	"mount_actions": ["read", "list", "write", "append", "delete", "rename"],
	"session": {"profile": "default", "counters": {"deletes": 0}},
}

ssn := [{"detector": "us_ssn", "category": "pii", "severity": "high", "confidence": 0.9, "count": 3}]

test_a_clean_file_is_read if data.chaperone.files.decision.effect == "allow" with input as base

test_content_is_inspected_first if {
	d := data.chaperone.files.decision with input as object.union(base, {"inspected": false})
	d.obligations == [{"kind": "inspect"}]
}

test_personal_data_asks_and_can_be_redacted if {
	d := data.chaperone.files.decision with input as object.union(base, {"findings": ssn})
	d.effect == "ask"
	d.reasons == {"personal_data"}
	d.obligations == [{"kind": "redact"}]
}

test_one_email_address_does_not_ask if {
	one := [{"detector": "email_address", "category": "pii", "severity": "medium", "confidence": 0.9, "count": 1}]
	d := data.chaperone.files.decision with input as object.union(base, {"findings": one})
	d.effect == "allow"
}

test_writes_are_staged if {
	d := data.chaperone.files.decision with input as object.union(base, {"action": "write"})
	d.obligations == [{"kind": "stage"}]
}

test_a_read_only_mount_refuses_writes if {
	d := data.chaperone.mounts.decision with input as object.union(base, {"action": "write", "mount_actions": ["read"]})
	d.reasons == ["not_in_profile"]
}

test_ssh_keys_are_denied_in_any_case if {
	d := data.chaperone.credentials.decision with input as object.union(base, {"path": "/workspace/Backup/.SSH/ID_RSA"})
	d.reasons == ["credential_store"]
}

test_dotenv_asks if {
	d := data.chaperone.credentials.decision with input as object.union(base, {"path": "/workspace/.env"})
	d.effect == "ask"
}

test_an_example_dotenv_does_not if {
	not data.chaperone.credentials.decision with input as object.union(base, {"path": "/workspace/.env.example"})
}

commit(path, change) := object.union(base, {"action": "commit", "path": path, "change": change})

test_a_git_hook_asks_at_commit if {
	d := data.chaperone.commit.decision with input as commit("/workspace/.git/hooks/pre-commit", {"op": "create"})
	"runs_later" in d.reasons
}

test_git_objects_do_not if {
	d := data.chaperone.commit.decision with input as commit("/workspace/.git/objects/ab/cdef", {"op": "create"})
	d.effect == "allow"
}

test_a_workbook_that_reaches_out_is_denied if {
	d := data.chaperone.commit.decision with input as commit("/workspace/a.xlsx", {"op": "create", "workbook_refusal": "function_reaches_out"})
	d.effect == "deny"
}

test_csv_formulas_ask if {
	d := data.chaperone.commit.decision with input as commit("/workspace/a.csv", {"op": "create", "formula_cells": 2})
	d.reasons == {"csv_formula"}
}

test_authorized_keys_have_a_floor if {
	d := data.chaperone.floor.decision with input as commit("/workspace/.ssh/authorized_keys", {"op": "create"})
	d.effect == "deny"
}

test_elevation_asks if {
	d := data.chaperone.requests.decision with input as object.union(base, {"action": "elevate"})
	d.effect == "ask"
}
