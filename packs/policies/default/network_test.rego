package chaperone.network_test

import rego.v1

base := {
	"action": "connect", "host": "api.example.com", "port": 443, "findings": [],
	"net": {"allowed": true, "trusted": true, "reaches": "public", "named": true, "budget": "fine", "untrusted_recent": 0},
}

decided(change) := d if {
	d := data.chaperone.network.decision with input as object.union(base, change)
}

test_an_allowed_host_is_reached if {
	decided({}).effect == "allow"
	decided({"action": "resolve", "port": 0, "net": {"reaches": null, "named": null}}).effect == "allow"
}

test_what_nobody_allowed_is_not_reached if {
	every action in ["resolve", "connect", "request"] {
		"host_not_allowed" in decided({"action": action, "net": {"allowed": false}}).reasons
	}
	d := data.chaperone.network.decision with input as {"action": "connect", "host": "a.example", "port": 443}
	"host_not_allowed" in d.reasons
	d.effect == "deny"
}

test_an_address_that_is_not_public_has_to_be_named if {
	every kind in ["loopback", "private", "link_local", "own_address", "reserved", "shared"] {
		decided({"net": {"reaches": kind, "named": false}}).reasons == {"private_address"}
		contains(decided({"net": {"reaches": kind, "named": false}}).advice, "--allow-host for the name and for its address")
		decided({"net": {"reaches": kind, "named": true}}).effect == "allow"
	}
	decided({"net": {"reaches": "metadata", "named": false}}).reasons == {"metadata_address"}
}

test_who_is_asked_at_every_turn_is_told_how_a_model_is_allowed if {
	said := {"action": "request", "method": "POST", "net": {"passages": 1, "reaches": "loopback", "request_allowed": true, "credentials": [], "unread": []}}
	d := decided(said)
	d.effect == "ask"
	contains(d.advice, "tcp://HOST:PORT")
	not contains(decided(object.union(said, {"net": {"reaches": "public"}})).advice, "tcp://")
}

test_names_that_carry_data_are_not_asked_for if {
	decided({"action": "resolve", "net": {"tunnel": "encoded_label"}}).reasons == {"dns_tunnel"}
	decided({"action": "resolve", "net": {"tunnel": null}}).effect == "allow"
}

test_a_budget_that_is_used_up_ends_it if {
	decided({"net": {"budget": "over"}}).reasons == {"over_budget"}
	decided({"net": {"budget": "near"}}).effect == "allow"
}

test_mail_is_asked_about if {
	every port in [25, 465, 587] {
		d := decided({"port": port})
		d.effect == "ask"
		d.reasons == {"message_to_people"}
	}
}

sent(change) := d if {
	request := {
		"action": "request", "method": "POST", "url": "https://api.example.com:443/v1/items",
		"net": {"request_allowed": true, "method_named": false, "passages": 0, "registered": 0, "unread": [], "tls": true},
	}
	d := data.chaperone.network.decision with input as object.union(object.union(base, request), change)
}

finding(category, severity) := {"detector": "x", "category": category, "severity": severity, "confidence": 0.9, "count": 1}

test_a_request_is_judged_by_method_path_and_what_it_carries if {
	sent({}).effect == "allow"
	sent({"net": {"request_allowed": false}}).reasons == {"request_not_allowed"}
	sent({"findings": [finding("secret", "high")]}).reasons == {"secret_leaves"}
	sent({"findings": [finding("covert", "medium")]}).reasons == {"hidden_data_leaves"}
	id := {"findings": [object.union(finding("covert", "medium"), {"detector": "random_path"})]}
	sent(id).effect == "ask"
	sent(object.union(id, {"host": "docs.google.com"})).effect == "allow"
	sent(object.union(id, {"host": "docs.google.com.example"})).reasons == {"hidden_data_leaves"}
	sent({"net": {"registered": 1}}).reasons == {"registered_value_leaves"}
	sent({"findings": [finding("secret", "low")]}).effect == "allow"
}

test_who_tests_a_server_of_the_users_logs_in_to_it if {
	login := object.union(finding("secret", "high"), {"certainty": "likely", "detector": "generic_password"})
	own := {"host": "localhost", "net": {"reaches": "loopback", "named": true, "bytes": 60}}
	sent(object.union(own, {"findings": [login]})).effect == "allow"
	sent({"findings": [login]}).reasons == {"secret_leaves"}
	every more in [
		{"findings": [object.union(login, {"certainty": "certain"})]}, {"findings": [login], "method": "PUT"},
		{"findings": [object.union(login, {"detector": "aws_access_key"})]},
		{"findings": [login], "net": {"bytes": 5000}}, {"findings": [login], "net": {"reaches": "private"}},
		{"findings": [login], "host": "127.0.0.1.example.com"},
	] {
		sent(object.union(own, more)).reasons == {"secret_leaves"}
	}
	sent(object.union(own, {"net": {"registered": 1}})).reasons == {"registered_value_leaves"}
}

test_what_is_the_persons_is_asked_about if {
	every change in [{"findings": [finding("pii", "high")]}, {"net": {"passages": 1}}, {"net": {"unread": ["body: encrypted"]}}] {
		sent(change).effect == "ask"
	}
}

test_a_message_to_people_is_asked_about if {
	every url in [
		"https://slack.com:443/api/chat.postmessage", "https://hooks.slack.com:443/services/a/b", "https://discord.com:443/api/v10/channels/1/messages",
		"https://api.telegram.org:443/bot123/sendmessage", "https://gmail.googleapis.com:443/gmail/v1/users/me/messages/send",
		"https://graph.microsoft.com:443/v1.0/me/sendmail", "https://api.sendgrid.com:443/v3/mail/send",
		"https://matrix.example.org:443/_matrix/client/v3/rooms/!a/send/m.room.message/1",
	] {
		sent({"url": url}).reasons == {"message_to_people"}
	}
	sent({"url": "https://slack.com:443/api/chat.postmessage", "method": "GET"}).effect == "allow"
	sent({"url": "https://notslack.com:443/api/chat.postmessage"}).effect == "allow"
}

test_an_unusual_method_is_asked_about if {
	every method in ["post", "GHP-8XK2MQVR7TLW", "X", "GETS", "…"] {
		d := sent({"method": method})
		d.effect == "ask"
		d.reasons == {"unusual_method"}
	}
	every method in ["GET", "PROPFIND", "MKCOL", "REPORT", "QUERY", "M-SEARCH", "PURGE"] {
		sent({"method": method}).effect == "allow"
	}
	sent({"method": "FROB", "net": {"method_named": true}}).effect == "allow"
}

test_a_relay_to_somebody_else_is_asked_about if {
	d := sent({"host": "proxy.golang.org", "method": "GET", "url": "https://proxy.golang.org:443/attacker.example/x/@v/list"})
	d.effect == "ask"
	d.reasons == {"relayed_request"}
	sent({"host": "proxy.golang.org", "method": "GET", "url": "https://proxy.golang.org:443/github.com/a/b/@v/list"}).effect == "allow"
}

test_hammering_on_what_is_denied_suspends if {
	d := decided({"net": {"allowed": false, "untrusted_recent": 41}})
	d.obligations == {{"kind": "suspend"}}
	decided({"net": {"allowed": false, "untrusted_recent": 5}}).obligations == set()
}

test_a_port_is_published if {
	d := data.chaperone.network.decision with input as {"action": "publish", "port": 8080}
	d.effect == "allow"
}

test_files_are_none_of_its_business if {
	not data.chaperone.network.decision with input as {"action": "read", "path": "/workspace/a"}
}

test_a_credential_goes_to_its_issuer_alone if {
	github := [{"detector": "github_token", "own": false}]
	sent({"host": "api.github.com", "net": {"allowed": true, "reaches": "public", "request_allowed": true, "credentials": github}}).effect == "allow"
	"secret_leaves" in sent({"host": "api.example.com", "net": {"allowed": true, "reaches": "public", "request_allowed": true, "credentials": github}}).reasons
}

test_the_profiles_own_key_goes_to_every_allowed_host if {
	own := [{"detector": "github_token", "own": true}]
	sent({"host": "api.example.com", "net": {"allowed": true, "reaches": "public", "request_allowed": true, "credentials": own}}).effect == "allow"
}
