# Hosts that fetch from where the path of a request says: what stands in the path reaches a host that nobody allowed. Of each, the
# paths that lead nowhere else, or only to the well-known places of code. Everything else is asked about.
package chaperone.relays

import rego.v1

# `pattern` is about the path, in lower case, without the query.
known := {
	# Modules by their import path: the proxy asks the host that begins it.
	"proxy.golang.org": `^/(sumdb/sum\.golang\.org/.*|(%s)/.*)$`,
	"goproxy.io": `^/(sumdb/sum\.golang\.org/.*|(%s)/.*)$`,
	"goproxy.cn": `^/(sumdb/sum\.golang\.org/.*|(%s)/.*)$`,
	# The same by the database of checksums, which asks the proxy.
	"sum.golang.org": `^/(tile/.*|latest|supported|lookup/(%s)/.*)$`,
	"sum.golang.google.cn": `^/(tile/.*|latest|supported|lookup/(%s)/.*)$`,
	# Whole addresses in the path.
	"web.archive.org": `^/(web/[0-9a-z_*]+/.*|cdx/.*|static/.*)?$`,
	"archive.org": `^/(wayback/available|details/.*|download/.*|metadata/.*|search.*)?$`,
	"r.jina.ai": `^/$`,
	"s.jina.ai": `^/$`,
	"api.allorigins.win": `^/$`,
	"corsproxy.io": `^/$`,
	"images.weserv.nl": `^/$`,
	"wsrv.nl": `^/$`,
	"jitpack.io": `^/(|com/github/.*|com/gitlab/.*|org/bitbucket/.*|io/github/.*)$`,
}

# Where code is kept, or where what keeps it is named by people who are not anybody.
code := [
	`github\.com`, `gitlab\.com`, `bitbucket\.org`, `codeberg\.org`, `git\.sr\.ht`, `golang\.org`, `google\.golang\.org`, `cloud\.google\.com`,
	`gopkg\.in`, `go\.uber\.org`, `go\.etcd\.io`, `go\.opentelemetry\.io`, `go\.mongodb\.org`, `go\.opencensus\.io`, `go\.starlark\.net`,
	`k8s\.io`, `sigs\.k8s\.io`, `gonum\.org`, `gorm\.io`, `gocloud\.dev`, `honnef\.co`, `modernc\.org`, `mvdan\.cc`, `filippo\.io`,
	`rsc\.io`, `dario\.cat`, `helm\.sh`, `istio\.io`, `cuelang\.org`, `ariga\.io`, `entgo\.io`, `gotest\.tools`, `tailscale\.com`, `storj\.io`, `zombiezen\.com`,
	`dmitri\.shuralyov\.com`, `nhooyr\.io`, `go4\.org`, `inet\.af`, `lukechampine\.com`, `contrib\.go\.opencensus\.io`, `cel\.dev`, `pgregory\.net`, `oras\.land`,
	`go\.yaml\.in`, `go\.temporal\.io`, `go\.elastic\.co`, `go\.bug\.st`, `buf\.build`, `connectrpc\.com`, `howett\.net`, `layeh\.com`, `src\.elv\.sh`, `knative\.dev`,
]

# Whether a request makes the host talk to one that nobody allowed.
reaches_further(host, url) if {
	some relay, pattern in known
	is_at(host, relay)
	path := regex.replace(url, `^https?://[^/]*`, "")
	not regex.match(replace(pattern, "%s", concat("|", code)), path)
}

is_at(host, name) if host == name

is_at(host, name) if host == concat("", ["www.", name])
