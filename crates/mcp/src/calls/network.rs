//! Tools for the network: `fetch`, and what may be reached.

use std::time::Duration;

use chaperone_capability::Action;
use chaperone_egress::{Rule, with_localhost};
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Method, Uri};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::arguments::Arguments;
use super::call::{Answer, Call, decode, encoded};
use crate::tools::{Fetch, NoArguments, RequestElevation};
use chaperone_pipeline::access::ElevationResource;
use chaperone_pipeline::{Authorized, authority};
use chaperone_protocol::Failure;

/// Bytes of an answer that are returned.
const RETURNED: u64 = 4 << 20;
/// Headers that an agent has no say in.
const OURS: &[&str] =
    &["host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer"];
/// Bytes of an answer that are saved to a file.
const SAVED: u64 = 64 << 20;

impl Call<'_> {
    pub(super) async fn fetch(&self, a: Fetch, cancelled: &CancellationToken) -> Answer {
        self.tools.session.authenticate()?;
        let bad = |why: String| Failure::new("bad_arguments", why);
        let method = a.method.as_deref().unwrap_or("GET").to_ascii_uppercase();
        let method = Method::from_bytes(method.as_bytes()).map_err(|e| bad(format!("the method: {e}")))?;
        let url: Uri =
            a.url.parse().map_err(|e| Failure::new("bad_url", format!("the address cannot be read: {e}")))?;
        let mut headers = HeaderMap::new();
        for (name, value) in &a.headers {
            let name =
                HeaderName::from_bytes(name.as_bytes()).map_err(|e| bad(format!("a header's name: {e}")))?;
            if OURS.contains(&name.as_str()) {
                return Err(bad(format!("{name} follows from the address and the body; leave it out")));
            }
            let value = HeaderValue::from_str(value)
                .map_err(|_| bad(format!("the value of {name} has characters that no header may have")))?;
            headers.append(name, value);
        }
        let body = decode(a.body.unwrap_or_default(), a.encoding)?;
        // What was sent cannot be taken back because its answer has no place.
        let save_to = a.save_to.as_deref().map(|path| self.path(Action::Write, path)).transpose()?;
        save_to.as_deref().map(|path| self.may_hold(path)).transpose()?;
        let most = if save_to.is_some() { SAVED } else { RETURNED };
        let asked = chaperone_gateway::Fetch { method, url, headers, body, most };
        let way = self.tools.way();
        let fetched = tokio::select! {
            fetched = chaperone_gateway::fetch(&way, asked) => fetched?,
            () = cancelled.cancelled() => return Err(Failure::new("cancelled", "the request was withdrawn")),
        };
        let headers: serde_json::Map<String, Value> = fetched
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), json!(String::from_utf8_lossy(value.as_bytes()))))
            .collect();
        let size = fetched.body.len();
        if let Some(path) = save_to {
            self.write(&path, &fetched.body, false, cancelled).await?;
            return Ok(
                json!({ "status": fetched.status, "headers": headers, "size": size, "saved_to": path, "content": "", "encoding": "none" }),
            );
        }
        let (content, encoding) = match String::from_utf8(fetched.body) {
            Ok(text) => (text, "text"),
            Err(e) => (encoded(e.as_bytes()), "base64"),
        };
        Ok(
            json!({ "status": fetched.status, "headers": headers, "size": size, "saved_to": "", "content": content, "encoding": encoding }),
        )
    }

    pub(super) fn list_allowed_hosts(&self, granted: &Authorized, a: Arguments<NoArguments>) -> Answer {
        let NoArguments {} = a.granted_to("list_allowed_hosts", granted)?;
        let hosts: Vec<Value> = self.tools.exit.allowed().rules().iter().map(shown).collect();
        Ok(json!({ "hosts": hosts }))
    }

    /// Ask the user for a host.
    pub(super) async fn elevate_host(
        &self,
        a: RequestElevation,
        host: String,
        cancelled: &CancellationToken,
    ) -> Answer {
        let bad = |e: chaperone_egress::RuleError| Failure::new("bad_arguments", format!("the host: {e}"));
        let text = match a.port {
            Some(port) if host.contains(':') => format!("[{host}]:{port}"),
            Some(port) => format!("{host}:{port}"),
            None => host,
        };
        let mut rule = Rule::of_text(&text).map_err(bad)?;
        rule.source = "approval".to_owned();
        let seconds = a.seconds.unwrap_or(600).clamp(1, authority::MAX_ELEVATION);
        let ports: Vec<String> = rule.ports().iter().map(u16::to_string).collect();
        let allowed = self.tools.exit.allowed();
        let named = allowed.rules().iter().any(|known| known.host() == rule.host());
        let facts = json!({
            "action": "connect", "host": rule.host().to_string(), "ports": rule.ports(), "seconds": seconds,
            "reaches": rule.host().reaches().as_str(), "wide": rule.host().is_wide(), "named": named,
        });
        let limits = allowed.rules().iter().filter(|known| known.host() == rule.host());
        let without = limits.filter_map(Rule::limits_in_words).next();
        let without = without.map_or_else(String::new, |limits| {
            format!(", without the limits of your rule for it ({limits})")
        });
        let wish =
            format!("connect to {} port {} for {seconds} s{without}", rule.host(), ports.join(" and "));
        let (subject, ports) = (rule.host().to_string(), rule.ports().to_vec());
        let rules = with_localhost(vec![rule]);
        let permissions = chaperone_gateway::permissions::outbound(&rules);
        let justification = a.reason;
        let wish = ElevationResource { subject, wish, facts, permissions, seconds, justification };
        let held = self.elevated(wish, cancelled).await?;
        let claims = held.verified.claims();
        let life = claims.exp.saturating_sub(u64::try_from(self.tools.pipeline.clock.now()).unwrap_or(0));
        let life = Duration::from_secs(life);
        let is_loopback = rules.iter().any(|rule| rule.host().is_loopback());
        rules.into_iter().for_each(|rule| self.tools.exit.allow(rule, life));
        let mut answer = json!({ "granted": true, "expires": claims.exp, "jti": claims.jti });
        for port in ports.into_iter().filter(|_| is_loopback) {
            // The tool `fetch` reaches it all the same.
            if let Err(why) = chaperone_gateway::put_in(&self.tools.way(), port, life).await {
                answer["note"] = json!(format!("programs do not reach it, the tool fetch does: {why}"));
            }
        }
        Ok(answer)
    }
}

fn shown(rule: &Rule) -> Value {
    let mut shown = json!(rule);
    shown["ports"] = json!(rule.ports());
    shown["from"] = json!(rule.source);
    shown
}
