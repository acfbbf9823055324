//! Allow-lists by service, as data: `packs/services.toml`, and the user's own `services.toml`.

use std::path::Path;
use std::sync::LazyLock;

use chaperone_egress::Rule;
use chaperone_packs::PackError;
use serde::Deserialize;

use chaperone_protocol::Failure;

const SHIPPED: &str = "packs/services.toml";
/// Largest file that is read. Protects the broker from a mistaken path.
const MOST: u64 = 256 * 1024;

/// A service and what it takes to use it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    pub name: String,
    /// One line for the user.
    pub about: String,
    pub allow: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Services {
    #[serde(default)]
    service: Vec<Service>,
}

/// Every service: those of `config/services.toml` first, so that the user can say otherwise, then those that ship.
///
/// # Errors
/// `bad_services` with file and line.
pub fn all(config: &Path) -> Result<Vec<Service>, Failure> {
    // What ships does not change while the program runs, and every session asks for it.
    static PARSED: LazyLock<Result<Vec<Service>, PackError>> =
        LazyLock::new(|| chaperone_packs::text(SHIPPED).and_then(|text| read(SHIPPED, text)));
    let own = config.join("services.toml");
    let wrong = |e: &dyn std::fmt::Display| Failure::new("bad_services", format!("{}: {e}", own.display()));
    let mut services = match std::fs::metadata(&own) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && !own.is_symlink() => Vec::new(),
        Err(e) => return Err(wrong(&e)),
        Ok(meta) if meta.len() > MOST => return Err(wrong(&format!("larger than {MOST} bytes"))),
        Ok(_) => {
            let text = std::fs::read_to_string(&own).map_err(|e| wrong(&e))?;
            read(&own.display().to_string(), &text)
                .map_err(|e| Failure::new("bad_services", e.to_string()))?
        }
    };
    let shipped = PARSED.as_ref().map_err(|e| Failure::new("bad_services", e.to_string()))?;
    let new: Vec<_> =
        shipped.iter().filter(|s| !services.iter().any(|own| own.name == s.name)).cloned().collect();
    services.extend(new);
    Ok(services)
}

fn read(file: &str, text: &str) -> Result<Vec<Service>, PackError> {
    chaperone_packs::parse::<Services>(file, text).map(|services| services.service)
}

/// The rules of a service.
///
/// # Errors
/// `no_such_service` with the names that there are.
pub fn rules(services: &[Service], name: &str) -> Result<Vec<Rule>, Failure> {
    let Some(service) = services.iter().find(|s| s.name == name) else {
        let known: Vec<&str> = services.iter().map(|s| s.name.as_str()).collect();
        return Err(Failure::new(
            "no_such_service",
            format!("no service named {name:?}; there are: {}", known.join(", ")),
        ));
    };
    let mut rules = service.allow.clone();
    rules.iter_mut().for_each(|rule| rule.source = format!("service {name}"));
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_services_that_ship_are_read_and_download_only_where_they_say_so() {
        let services = all(Path::new("/nonexistent")).unwrap();
        for service in &services {
            assert!(!service.allow.is_empty(), "{}", service.name);
            for rule in service.allow.iter().filter(|_| service.about.contains("download only")) {
                assert!(
                    rule.has_method("GET") && !rule.has_method("POST") && !rule.has_method("PUT"),
                    "{}",
                    service.name
                );
            }
        }
        let github = chaperone_egress::AllowSet::new(rules(&services, "github-read").unwrap());
        let host = chaperone_egress::Host::parse("github.com").unwrap();
        assert!(github.permits_request(&host, 443, "POST", "/a/b.git/git-upload-pack").is_some());
        assert!(github.permits_request(&host, 443, "POST", "/a/b.git/git-receive-pack").is_none());
        assert!(rules(&services, "pypy").unwrap_err().message.contains("pypi"));
    }

    /// What the tools ask for at their registries when they resolve, install and audit, and what none of it needs.
    #[test]
    fn resolving_is_complete_and_publishing_is_none_of_it() {
        let services = all(Path::new("/nonexistent")).unwrap();
        let permits = |service: &str, method: &str, host: &str, path: &str| {
            let allowed = chaperone_egress::AllowSet::new(rules(&services, service).unwrap());
            let host = chaperone_egress::Host::parse(host).unwrap();
            allowed.permits_request(&host, 443, method, path).is_some()
        };
        for (service, method, host, path) in [
            ("npm", "GET", "registry.npmjs.org", "/@types%2fnode"),
            ("npm", "GET", "registry.npmjs.org", "/-/npm/v1/keys"),
            ("npm", "POST", "registry.npmjs.org", "/-/npm/v1/security/advisories/bulk"),
            ("npm", "POST", "registry.npmjs.org", "/-/npm/v1/security/audits/quick"),
            ("npm", "POST", "registry.npmjs.org", "/-/npm/v1/security/audits"),
            ("npm", "GET", "registry.yarnpkg.com", "/left-pad/-/left-pad-1.3.0.tgz"),
            ("npm", "POST", "registry.yarnpkg.com", "/-/npm/v1/security/audits"),
            ("pypi", "GET", "pypi.org", "/simple/idna/"),
            (
                "pypi",
                "GET",
                "files.pythonhosted.org",
                "/packages/aa/bb/cc/idna-3.7-py3-none-any.whl.metadata",
            ),
            ("crates", "GET", "index.crates.io", "/config.json"),
            ("crates", "GET", "index.crates.io", "/se/rd/serde"),
            ("crates", "GET", "static.crates.io", "/crates/serde/serde-1.0.0.crate"),
            ("go", "GET", "proxy.golang.org", "/golang.org/x/net/@v/list"),
            ("go", "GET", "sum.golang.org", "/lookup/golang.org/x/net@v0.30.0"),
            ("go", "GET", "vuln.go.dev", "/index/modules.json.gz"),
            ("maven", "GET", "repo.maven.apache.org", "/maven2/junit/junit/maven-metadata.xml"),
            ("maven", "GET", "plugins.gradle.org", "/m2/org/x/x.gradle.plugin/1/x.gradle.plugin-1.pom"),
        ] {
            assert!(permits(service, method, host, path), "{service}: {method} {host}{path}");
        }
        for (service, method, host, path) in [
            ("npm", "PUT", "registry.npmjs.org", "/left-pad"),
            ("npm", "POST", "registry.npmjs.org", "/-/v1/login"),
            ("npm", "POST", "registry.npmjs.org", "/left-pad"),
            ("npm", "POST", "registry.npmjs.org", "/-/npm/v1/security/advisories/bulk/x"),
            ("npm", "POST", "registry.npmjs.org", "/-/npm/v1/security/../../../left-pad"),
            ("npm", "PUT", "registry.yarnpkg.com", "/-/npm/v1/security/audits"),
            ("pypi", "POST", "pypi.org", "/legacy/"),
            ("crates", "PUT", "crates.io", "/api/v1/crates/new"),
            ("maven", "GET", "plugins.gradle.org", "/search"),
        ] {
            assert!(!permits(service, method, host, path), "{service}: {method} {host}{path}");
        }
    }

    #[test]
    fn the_persons_own_services_come_first_and_mistakes_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("services.toml");
        std::fs::write(
            &file,
            "[[service]]\nname = \"pypi\"\nabout = \"a mirror\"\nallow = [{ host = \"pypi.example\" }]\n",
        )
        .unwrap();
        let services = all(folder.path()).unwrap();
        assert_eq!(rules(&services, "pypi").unwrap()[0].host().to_string(), "pypi.example");
        std::fs::write(
            &file,
            "[[service]]\nname = \"a\"\nabout = \"b\"\nallow = [{ hots = \"a.example\" }]\n",
        )
        .unwrap();
        let error = all(folder.path()).unwrap_err().message;
        assert!(error.contains("services.toml: line 4"), "{error}");
    }
}
