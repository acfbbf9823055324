//! Capabilities: what the session holds, more of it, and a part of it for a sub-agent.

use std::sync::Arc;

use chaperone_capability::{Action, PermissionClaim, escape_path};
use chaperone_pipeline::access::{AccessRequest, ElevationResource, Entry, Resource};
use chaperone_pipeline::session::ActiveCapability;
use chaperone_pipeline::{Authorized, authority};
use chaperone_protocol::Failure;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::arguments::Arguments;
use super::call::{Answer, Call};
use crate::tools;

/// What may be asked for on a path.
const WANTED: [Action; 6] =
    [Action::Read, Action::Write, Action::Append, Action::List, Action::Delete, Action::Rename];

impl Call<'_> {
    pub(super) async fn request_elevation(
        &self,
        mut a: tools::RequestElevation,
        cancelled: &CancellationToken,
    ) -> Answer {
        if a.action == "connect" {
            let host = a.host.take().filter(|_| a.path.is_none());
            let missing = || Failure::new("bad_arguments", "to connect names a host, and no path");
            return self.elevate_host(a, host.ok_or_else(missing)?, cancelled).await;
        }
        let named = a.path.as_deref().filter(|_| a.host.is_none() && a.port.is_none());
        let named =
            named.ok_or_else(|| Failure::new("bad_arguments", "this action names a path, and no host"))?;
        let path = self.path(Action::Elevate, named.trim_end_matches("/**").trim_end_matches("/*"))?;
        let pattern = if named.ends_with("/**") || named.ends_with("/*") {
            format!(
                "{}{}",
                escape_path(&path),
                named.get(named.rfind("/*").unwrap_or(0)..).unwrap_or_default()
            )
        } else {
            escape_path(&path)
        };
        let action = WANTED.into_iter().find(|known| known.as_str() == a.action).ok_or_else(|| {
            Failure::new(
                "bad_arguments",
                "the action must be connect, read, write, append, list, delete or rename",
            )
        })?;
        let seconds = a.seconds.unwrap_or(600).clamp(1, authority::MAX_ELEVATION);
        let facts = json!({ "action": action.as_str(), "pattern": pattern, "seconds": seconds });
        let wish = format!("{} {pattern} for {seconds} s", action.as_str());
        let permissions = vec![PermissionClaim::path(action, pattern)];
        let (subject, justification) = (path, a.reason);
        let wish = ElevationResource { subject, wish, facts, permissions, seconds, justification };
        let held = self.elevated(wish, cancelled).await?;
        let claims = held.verified.claims();
        Ok(json!({ "granted": true, "expires": claims.exp, "jti": claims.jti }))
    }

    pub(super) fn attenuate(&self, granted: &Authorized, a: Arguments<tools::Attenuate>) -> Answer {
        let a = a.granted_to("attenuate_capability", granted)?;
        let mut permissions = Vec::new();
        for p in a.permissions {
            let action = p
                .action
                .parse()
                .map_err(|e: chaperone_capability::Rejection| Failure::new(e.code(), e.to_string()))?;
            let inside = self.tools.mounts.named_inside(&p.path);
            permissions.push(PermissionClaim::path(action, inside.unwrap_or(p.path)));
        }
        let now = u64::try_from(self.tools.pipeline.clock.now()).unwrap_or(0);
        let narrowing = chaperone_capability::Narrowing {
            sub: None,
            permissions,
            exp: a.seconds.map(|s| now.saturating_add(s)),
            uses: a.uses.and_then(|u| u32::try_from(u).ok()),
        };
        let pipeline = &self.tools.pipeline;
        let vault = &*pipeline.vault;
        let (token, jti) = authority::attenuated(
            &self.tools.session,
            vault,
            &narrowing,
            a.holder.as_deref(),
            pipeline.clock.now(),
        )?;
        let payload = json!({ "jti": jti, "permissions": narrowing.permissions });
        self.tools.pipeline.records.event(
            &self.tools.session,
            "attenuate",
            &jti,
            &payload,
            chaperone_audit::Durability::Synced,
        )?;
        let exp =
            chaperone_capability::inspect(&token).ok().and_then(|c| c.last().map(|c| c.exp)).unwrap_or(0);
        Ok(json!({ "token": token, "jti": jti, "expires": exp }))
    }

    pub(super) fn list_capabilities(&self, granted: &Authorized, a: Arguments<tools::NoArguments>) -> Answer {
        let tools::NoArguments {} = a.granted_to("list_capabilities", granted)?;
        let held = self.tools.session.capability.read().clone();
        let held =
            held.ok_or_else(|| Failure::new("no_capability", "the session holds no capability yet"))?;
        let claims = held.verified.claims();
        let mut permissions: Vec<Value> = claims.permissions.iter().map(|p| json!(p)).collect();
        for grant in self.tools.session.grants.read().iter() {
            permissions.extend(grant.verified.claims().permissions.iter().map(|p| json!(p)));
        }
        Ok(
            json!({ "agent": self.tools.session.name, "session": self.tools.session.id, "expires": claims.exp, "permissions": permissions }),
        )
    }

    /// Ask the user for more than the capability gives, and mint exactly what was granted.
    pub(super) async fn elevated(
        &self,
        wish: ElevationResource,
        cancelled: &CancellationToken,
    ) -> Result<Arc<ActiveCapability>, Failure> {
        let resource = Resource::Elevation(wish);
        let request = AccessRequest { action: Action::Elevate, resource, entry: Entry::Rpc, pid: self.pid };
        let granted = self.ask(request, cancelled).await?;
        let pipeline = &self.tools.pipeline;
        let held = authority::elevation(
            &self.tools.session,
            &*pipeline.vault,
            &pipeline.issuer,
            &granted,
            pipeline.clock.now(),
        );
        self.done(&granted, Action::Elevate, granted.request().subject(), held.is_ok(), 0)?;
        held
    }
}
