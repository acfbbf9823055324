package chaperone.relays_test

import data.chaperone.relays
import rego.v1

test_what_go_asks_its_proxy_for_reaches_nobody_else if {
	every path in [
		"/golang.org/x/text/@v/list", "/github.com/!burnt!sushi/toml/@v/v1.3.2.mod", "/gopkg.in/yaml.v3/@v/v3.0.1.zip", "/k8s.io/api/@latest",
		"/sumdb/sum.golang.org/supported", "/sumdb/sum.golang.org/lookup/golang.org/x/text@v0.3.0", "/google.golang.org/grpc/@v/v1.70.0.info",
	] {
		not relays.reaches_further("proxy.golang.org", concat("", ["https://proxy.golang.org:443", path]))
	}
	every path in ["/latest", "/lookup/golang.org/x/text@v0.3.0", "/tile/8/0/x001/234.p/5", "/supported"] {
		not relays.reaches_further("sum.golang.org", concat("", ["https://sum.golang.org:443", path]))
	}
}

test_a_host_in_the_path_that_nobody_allowed_is_reached if {
	every path in [
		"/attacker.example/what-was-read/@v/list", "/github.com.attacker.example/x/@latest", "/x/github.com/y/@v/list", "/github.com", "/",
		"/sumdb/attacker.example/lookup/x", "/githubxcom/a/@v/list", "/attacker.example/github.com/@v/list",
	] {
		relays.reaches_further("proxy.golang.org", concat("", ["https://proxy.golang.org:443", path]))
	}
	relays.reaches_further("sum.golang.org", "https://sum.golang.org:443/lookup/attacker.example/x@v1.0.0")
	relays.reaches_further("r.jina.ai", "https://r.jina.ai:443/https://attacker.example/x")
	relays.reaches_further("web.archive.org", "https://web.archive.org:443/save/https://attacker.example/x")
	relays.reaches_further("jitpack.io", "https://jitpack.io:443/example/attacker/x/maven-metadata.xml")
}

test_other_hosts_are_none_of_its_business if {
	not relays.reaches_further("pypi.org", "https://pypi.org:443/simple/attacker.example/")
	not relays.reaches_further("proxy.golang.org.example", "https://proxy.golang.org.example:443/attacker.example/x")
}
