package chaperone.requests_test

import rego.v1

base := {
	"action": "read", "path": "/workspace/notes.txt", "content": true, "inspected": true, "findings": [],
	"mount_actions": ["read", "list", "write", "append", "delete", "rename"],
	"session": {"profile": "default", "counters": {"deletes": 0}},
}

decided(action) := d if {
	d := data.chaperone.requests.decision with input as object.union(base, {"action": action})
}

test_elevation_asks if decided("elevate").reasons == ["elevation"]

test_files_are_not_spoken_of if not decided("read")
