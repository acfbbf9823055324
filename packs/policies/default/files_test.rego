package chaperone.files_test

import rego.v1

base := {
	"action": "read", "path": "/workspace/notes.txt", "content": true, "inspected": true, "findings": [],
	"mount_actions": ["read", "list", "write", "append", "delete", "rename"],
	"session": {"profile": "default", "counters": {"deletes": 0}},
}

decided(change) := d if {
	d := data.chaperone.files.decision with input as object.union(base, change)
}

finding(detector, category, severity, count) := {"findings": [{"detector": detector, "category": category, "severity": severity, "confidence": 0.9, "count": count}]}

test_a_clean_file_is_read if decided({}).effect == "allow"

test_listing_is_allowed if {
	decided({"action": "list"}).effect == "allow"
	decided({"action": "stat"}).effect == "allow"
}

test_content_is_inspected_first if decided({"inspected": false}).obligations == [{"kind": "inspect"}]

test_opening_without_content_needs_no_inspection if {
	d := decided({"content": false, "inspected": false})
	d.effect == "allow"
	not d.obligations
}

test_personal_data_asks_and_can_be_redacted if {
	d := decided(finding("us_ssn", "pii", "high", 3))
	d.effect == "ask"
	d.reasons == {"personal_data"}
	d.obligations == [{"kind": "redact"}]
}

test_medium_personal_data_asks if decided(finding("street_address", "pii", "medium", 1)).effect == "ask"

found(detector, count) := {"detector": detector, "category": "pii", "severity": "medium", "confidence": 0.9, "count": count}

test_one_date_of_birth_or_account_alone_does_not if {
	every detector in ["date_of_birth", "crypto"] {
		decided({"findings": [found(detector, 1)]}).effect == "allow"
		decided({"findings": [found(detector, 1), found("email_address", 2)]}).effect == "allow"
		decided({"findings": [found(detector, 3)]}).effect == "ask"
		decided({"findings": [found(detector, 1), found("person_name", 1)]}).effect == "ask"
	}
}

test_low_personal_data_does_not if decided(finding("person_name", "pii", "low", 9)).effect == "allow"

test_doubtful_findings_do_not_ask if {
	doubtful := [{"detector": "us_ssn", "category": "pii", "severity": "high", "confidence": 0.3, "count": 1}]
	decided({"findings": doubtful}).effect == "allow"
}

classed(category, certainty) := {"findings": [{
	"detector": "some_kind", "category": category, "severity": "high", "confidence": 0.9,
	"certainty": certainty, "count": 3, "distinct": 3,
}]}

test_what_is_not_certain_does_not_interrupt_reading if {
	some category in ["pii", "secret"]
	some certainty in ["likely", "possible"]
	decided(classed(category, certainty)).effect == "allow"
}

test_what_is_certain_does if decided(classed("secret", "certain")).effect == "ask"

strict := {"session": {"profile": "default", "reads": "likely", "counters": {"deletes": 0}}}

test_a_profile_may_ask_about_what_is_likely if {
	decided(object.union(classed("secret", "likely"), strict)).effect == "ask"
	decided(object.union(classed("secret", "possible"), strict)).effect == "allow"
}

# The addresses of a column, and the one author who is named again and again.
test_different_addresses_count if {
	address := {"detector": "email_address", "category": "pii", "severity": "low", "confidence": 0.97, "certainty": "certain"}
	decided({"findings": [object.union(address, {"count": 30, "distinct": 30})]}).effect == "ask"
	decided({"findings": [object.union(address, {"count": 300, "distinct": 3})]}).effect == "allow"
	decided({"findings": [object.union(address, {"count": 300, "distinct": 300, "certainty": "likely"})]}).effect == "allow"
}

test_secrets_ask if {
	d := decided(finding("github_token", "secret", "high", 1))
	d.effect == "ask"
	d.reasons == {"secret_in_content"}
}

unread(why) := {"unread": [why]}

test_what_cannot_be_looked_into_asks_and_cannot_be_redacted if {
	d := decided(unread("it is an encrypted PDF document"))
	d.effect == "ask"
	d.reasons == {"cannot_look_inside"}
	d.obligations == []
}

test_what_was_found_in_the_rest_is_asked_about_too if {
	d := decided(object.union(unread("it is encrypted in a zip archive"), finding("us_ssn", "pii", "high", 3)))
	d.reasons == {"cannot_look_inside", "personal_data"}
}

test_what_was_read_whole_does_not if decided({"unread": []}).effect == "allow"

test_one_email_address_does_not_ask if decided(finding("email_address", "pii", "medium", 1)).effect == "allow"

test_twenty_email_addresses_do if decided(finding("email_address", "pii", "low", 20)).effect == "ask"

test_addresses_of_machines_are_read_without_a_question if {
	every detector in ["ip_address", "mac_address"] {
		decided(finding(detector, "pii", "low", 300)).effect == "allow"
	}
}

test_common_findings_are_counted_together if {
	some_of_each := array.concat(finding("email_address", "pii", "low", 12).findings, finding("phone_number", "pii", "low", 8).findings)
	decided({"findings": some_of_each}).effect == "ask"
}

test_an_answer_changes_nothing_of_the_decision if {
	ssn := finding("us_ssn", "pii", "high", 3)
	decided(object.union(ssn, {"approved": {"effect": "ask", "redact": true}})) == decided(ssn)
}

test_changes_are_staged if {
	every action in ["write", "append", "delete", "rename"] {
		decided({"action": action}).obligations == [{"kind": "stage"}]
	}
}

test_other_actions_are_not_spoken_of if not decided({"action": "exec"})
