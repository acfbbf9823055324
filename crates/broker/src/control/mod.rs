//! The user's commands: one connection each, on a socket that only the user's uid reaches.

mod approvals;
mod audit;
mod capability;
mod changes;
mod leave;
mod sessions;
mod wire;

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use chaperone_protocol::reply::{Done, Reloaded};
use chaperone_protocol::{Event, Failure, Happened, Reply, Request, frame};
use serde_json::Value;

use self::wire::{has_hung_up, in_parts, on_the_wire};
use crate::broker::Broker;
use crate::policy_reload;
use crate::prune;
use crate::session::end;
use crate::session::live::LiveSession;

/// How often a watcher that hears nothing is looked at.
const WATCH_TICK: Duration = Duration::from_millis(500);

/// One command's connection.
pub struct Connection {
    broker: Arc<Broker>,
    /// The session whose cell this connection launched: it ends with the connection.
    attached: Option<Arc<LiveSession>>,
    /// The last look at staged changes, until the caller says how much of it was shown.
    look: Option<changes::Look>,
    /// A session that stands still while the caller looks at it.
    held: Option<changes::FrozenSession>,
}

impl Connection {
    #[must_use]
    pub fn new(broker: Arc<Broker>) -> Self {
        Self { broker, attached: None, look: None, held: None }
    }

    /// Answer requests until the peer hangs up.
    pub fn serve(mut self, stream: &UnixStream) {
        while let Ok(Some((request, fds))) = frame::receive::<Request>(stream) {
            let reply = match request {
                Request::Watch { session, routine } => {
                    self.watch(stream, session, routine);
                    break;
                }
                Request::Mcp { session } => {
                    if let (Ok(live), Ok(stream)) = (self.broker.find(&session), stream.try_clone()) {
                        chaperone_mcp::serve(&live.tools, stream);
                    }
                    break;
                }
                other => self.answer(stream, other, fds),
            };
            let reply = reply.map_or_else(Reply::Error, Reply::Ok);
            if frame::send(stream, &reply, &[]).is_err() {
                break;
            }
        }
        if let Some(live) = &self.attached
            && !live.has_ended()
        {
            end::stop(live);
            end::finish(&self.broker, live);
        }
    }

    fn answer(&mut self, stream: &UnixStream, request: Request, fds: Vec<OwnedFd>) -> Result<Value, Failure> {
        let broker = &self.broker;
        match request {
            Request::Ping => on_the_wire(Ok(leave::here(broker))),
            Request::Leave => on_the_wire(Ok(leave::leave(broker, stream))),
            Request::Status => on_the_wire(audit::status(broker)),
            Request::Reload => {
                on_the_wire(policy_reload::reload(broker).map(|revision| Reloaded { revision }))
            }
            Request::OpenSession(asked) => {
                let opened = crate::session::open::open(broker, &asked)?;
                self.attached = broker.sessions.read().get(&opened.session).cloned();
                on_the_wire(Ok(opened))
            }
            Request::ProfileShow(asked) => on_the_wire(crate::session::look::shown(broker, &asked)),
            Request::Attach { session, init_pid, network, enforced } => {
                on_the_wire(sessions::attach(broker, &session, (init_pid, network), &enforced, fds))
            }
            Request::AttachOutside { session } => on_the_wire(sessions::attach_outside(broker, &session)),
            Request::Ended { session, cause, code } => {
                on_the_wire(sessions::ended(broker, stream, &session, (cause, code)))
            }
            Request::Abandon { session, reason } => on_the_wire(sessions::abandon(broker, &session, &reason)),
            Request::Sessions { all, staged } => on_the_wire(Ok(broker.list(all, staged))),
            Request::Prune { older_than_s, dry_run } => {
                on_the_wire(prune::prune(broker, older_than_s.map(Duration::from_secs), dry_run))
            }
            Request::Stop { session } => on_the_wire(sessions::stop(broker, session.as_deref())),
            Request::Resume { session } => on_the_wire(sessions::resume(broker, &session)),
            Request::Why { session } => on_the_wire(sessions::why(broker, session.as_deref())),
            Request::Changes { session, diff, stat, paths } => {
                let (look, last) = changes::changes(broker, stream, &session, (diff, stat, paths))?;
                self.look = look;
                on_the_wire(Ok(last))
            }
            Request::Hold { session } => {
                self.held = Some(changes::FrozenSession::of(broker.find(&session)?));
                on_the_wire(Ok(Done {}))
            }
            Request::Shown { count } => {
                let look = self.look.take().ok_or_else(|| Failure::new("bad_request", "nothing was sent"))?;
                look.reached_the_user(count);
                on_the_wire(Ok(Done {}))
            }
            Request::Commit { session, paths, choice, unseen, ask_first, rehearsal, confirm, accept } => {
                let what = (&*paths, choice.as_deref(), rehearsal);
                let word = (unseen, ask_first, (&*confirm, &*accept));
                on_the_wire(in_parts(stream, changes::commit(broker, stream, &session, what, word)))
            }
            Request::Committed { session, paths } => {
                on_the_wire(changes::committed(broker, &session, &paths))
            }
            Request::Discard { session, paths } => {
                on_the_wire(in_parts(stream, changes::discard(broker, &session, &paths)))
            }
            Request::Undo { session, commit, paths, force } => {
                let undone = changes::undo(broker, stream, &session, commit, &paths, force);
                on_the_wire(in_parts(stream, undone))
            }
            Request::Approvals => on_the_wire(Ok(broker.pipeline.approvals.pending())),
            Request::Approve { id, scope, redact, pin } => {
                on_the_wire(approvals::approve(broker, &id, scope, redact, pin.as_deref()))
            }
            Request::Deny { id, why } => on_the_wire(approvals::deny(broker, &id, why)),
            Request::PinSet { pin, old } => on_the_wire(approvals::set_pin(broker, &pin, old.as_deref())),
            Request::CapabilityShow { session } => on_the_wire(capability::show(broker, &session)),
            Request::CapabilityMint { claims } => on_the_wire(capability::mint(broker, &claims)),
            Request::CapabilityRevoke { jti } => on_the_wire(capability::revoke(broker, &jti)),
            Request::AuditCheckpoint => on_the_wire(audit::checkpoint(broker)),
            Request::AuditShow { seq } => on_the_wire(audit::show(broker, seq)),
            Request::Watch { .. } | Request::Mcp { .. } => Err(Failure::new("bad_request", "not here")),
        }
    }

    /// Stream events until the peer is gone.
    fn watch(&self, stream: &UnixStream, session: Option<String>, routine: bool) {
        let events = self.broker.bus.watch(session, routine);
        if frame::send(stream, &Reply::Event(Event::general(Happened::Watching)), &[]).is_err() {
            return;
        }
        loop {
            match events.recv_timeout(WATCH_TICK) {
                Ok(event) => {
                    if frame::send(stream, &Reply::Event(event), &[]).is_err() {
                        return;
                    }
                }
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                    if has_hung_up(stream) {
                        return;
                    }
                }
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}

/// Whether the peer is the user that the broker runs as.
#[must_use]
pub fn is_ours(stream: &UnixStream) -> bool {
    rustix::net::sockopt::socket_peercred(stream).is_ok_and(|c| c.uid == rustix::process::geteuid())
}
