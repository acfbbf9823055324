# Whose keys are whose: in a credential's header a key may go to its issuer, and nowhere else. Domains stand for themselves and
# all below them; a kind without one goes nowhere. Of a kind that is not named here nobody knows where it belongs.
package chaperone.issuers

import rego.v1

domains := {
	"aws_": ["amazonaws.com", "amazonaws.com.cn", "aws.amazon.com", "api.aws"],
	"alibaba_": ["aliyuncs.com", "aliyun.com"],
	"github_": ["github.com", "githubusercontent.com", "ghcr.io", "githubcopilot.com"],
	"gitlab_": ["gitlab.com"],
	"slack_": ["slack.com"],
	"stripe_": ["stripe.com"],
	"google_": ["googleapis.com", "google.com", "googleusercontent.com"],
	"gcp_": ["googleapis.com", "google.com"],
	"npm_": ["npmjs.org", "npmjs.com"],
	"pypi_": ["pypi.org"],
	"crates_io_": ["crates.io"],
	"dockerhub_": ["docker.com", "docker.io"],
	"sendgrid_": ["sendgrid.com"],
	"openai_": ["openai.com"],
	"anthropic_": ["anthropic.com"],
	"openrouter_": ["openrouter.ai"],
	"huggingface_": ["huggingface.co", "hf.co"],
	"digitalocean_": ["digitalocean.com"],
	"heroku_": ["heroku.com"],
	"shopify_": ["shopify.com", "myshopify.com"],
	"facebook_": ["facebook.com", "graph.instagram.com"],
	"dropbox_": ["dropboxapi.com", "dropbox.com"],
	"telegram_": ["telegram.org"],
	"twilio_": ["twilio.com"],
	"notion_": ["notion.com"],
	"private_key": [],
	"seed_phrase": [],
	"bitcoin_": [],
	"wallet_": [],
}

# Whether a key of this kind may go to a host.
may_go(detector, _) if count({kind | some kind, _ in domains; startswith(detector, kind)}) == 0

may_go(detector, host) if {
	some kind, allowed in domains
	startswith(detector, kind)
	some domain in allowed
	is_at(host, domain)
}

is_at(host, domain) if host == domain

is_at(host, domain) if endswith(host, concat("", [".", domain]))
