package chaperone.issuers_test

import data.chaperone.issuers
import rego.v1

test_a_key_goes_to_its_issuer_and_to_nobody_else if {
	issuers.may_go("github_token", "api.github.com")
	issuers.may_go("github_token", "github.com")
	not issuers.may_go("github_token", "api.example.com")
	not issuers.may_go("github_token", "github.com.example.com")
	not issuers.may_go("github_token", "notgithub.com")
	not issuers.may_go("aws_access_key", "s3.example.com")
	issuers.may_go("aws_access_key", "s3.amazonaws.com")
}

test_a_private_key_goes_nowhere if not issuers.may_go("private_key", "github.com")

test_of_an_unknown_kind_nobody_knows_where_it_belongs if issuers.may_go("generic_secret", "api.example.com")
