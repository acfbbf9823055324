//! Whether another name takes a file out of what protects it from being read.

use std::fs::File;
use std::sync::Arc;

use chaperone_capability::Action;
use chaperone_inspect::{Certainty, FileSpot, Finding, Place, Spot, endings};
use chaperone_policy::Effect;
use chaperone_protocol::Failure;
use chaperone_quota::HeldFile;

use crate::Pipeline;
use crate::access::{AccessRequest, Entry, FileObject, FileResource, ObjectKind, Resource};
use crate::granting::{demands_redaction, file_name};
use crate::pipeline::guarded;
use crate::refusal::Refusal;
use crate::session::Session;
use crate::snapshots::Inspected;

/// What of content may make a difference between two names: policy holds some of it more strictly under some names.
const SUPPOSED: [Certainty; 2] = [Certainty::Likely, Certainty::Certain];

impl Pipeline {
    /// Whether policy holds reading at `from` more strictly than at `to`: what gets that name, too, gets out of a rule that
    /// protects it. Rules that go by names alone say so at once; where the names differ in what may be in a file, `content` is
    /// looked into under both. A fault, and content that cannot be looked into, count as yes. Nothing is recorded.
    pub fn loosens(
        &self,
        session: &Arc<Session>,
        from: &str,
        to: &str,
        content: &dyn Fn() -> Option<File>,
    ) -> bool {
        let reading = |path: &str, seen: Option<&Arc<Inspected>>| self.strictness(session, path, seen);
        let looser = || {
            if reading(from, None)? > reading(to, None)? {
                return Ok(true);
            }
            let are_read_alike = endings(file_name(from)) == endings(file_name(to));
            let mut may_differ = !are_read_alike;
            for certainty in SUPPOSED {
                let supposed = Some(Arc::new(supposed(certainty)?));
                may_differ |= reading(from, supposed.as_ref())? > reading(to, supposed.as_ref())?;
            }
            if !may_differ {
                return Ok(false);
            }
            let Some(file) = content() else { return Ok(true) };
            let before = self.content_as(session, &file, from)?;
            let after =
                if are_read_alike { Arc::clone(&before) } else { self.content_as(session, &file, to)? };
            // Under a name that says less, also with what the other one says.
            Ok(reading(from, Some(&before))? > reading(to, Some(&after))?)
        };
        guarded(looser).unwrap_or(true)
    }

    /// Whether policy holds reading of `before` more strictly than of `after`, which got its values from it: what was left out or
    /// written between them may bring the rest into the open. Paths, then contents. A fault, and what cannot be looked into, count
    /// as yes. Nothing is recorded.
    pub fn opens(
        &self,
        session: &Arc<Session>,
        (from, before): (&str, &File),
        (to, after): (&str, &File),
    ) -> bool {
        let reading = |path: &str, file: &File| {
            let seen = self.content_as(session, file, path)?;
            self.strictness(session, path, Some(&seen))
        };
        guarded(|| Ok(reading(from, before)? > reading(to, after)?)).unwrap_or(true)
    }

    /// How strictly reading is held, from the least.
    fn strictness(
        &self,
        session: &Session,
        path: &str,
        seen: Option<&Arc<Inspected>>,
    ) -> Result<u8, Refusal> {
        // As when a file there is opened.
        let object = FileObject { kind: ObjectKind::File, ..FileObject::ABSENT };
        let mut request = AccessRequest::file(Entry::FileSystem, Action::Read, path.to_owned(), object);
        if let Resource::File(FileResource { content, .. }) = &mut request.resource {
            *content = true;
        }
        let decision = self.policy_on(session, &request, seen, None)?;
        Ok(match decision.effect {
            Effect::Allow if !demands_redaction(&decision) => 0,
            Effect::Allow => 1,
            Effect::Ask => 2,
            Effect::StepUp => 3,
            Effect::Deny => 4,
        })
    }

    fn content_as(&self, session: &Session, file: &File, path: &str) -> Result<Arc<Inspected>, Refusal> {
        // Of a copy, which nobody changes meanwhile.
        let copy = FileObject { kind: ObjectKind::File, staged: true, ..FileObject::ABSENT };
        Ok(self.inspection.inspect(file, &copy, file_name(path), &session.snapshots)?)
    }
}

/// What a file may hold: a secret and personal data, found as surely as this.
fn supposed(certainty: Certainty) -> Result<Inspected, Refusal> {
    let nothing = File::open("/dev/null").map_err(|e| Failure::new("cannot_inspect", e.to_string()))?;
    let finding = |category: &str| Finding {
        detector: "supposed".to_owned(),
        category: category.to_owned(),
        severity: "high".to_owned(),
        confidence: 1.0,
        certainty,
        count: 1,
        distinct: 1,
        place: Place { spot: Spot::File(FileSpot::Whole), steps: Vec::new() },
        fingerprint: None,
        sha256: [0; 32],
        values: Vec::new(),
    };
    // Decisions are known by the content that they are about: this is none that a file has.
    let digest = [u8::MAX - certainty as u8; 32];
    let findings = [finding("secret"), finding("pii")];
    Ok(Inspected::new(digest, 0, findings.into(), HeldFile::uncounted(nothing)))
}
