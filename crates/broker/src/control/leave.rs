//! The broker's end, for one of another build.

use std::os::unix::net::UnixStream;
use std::sync::Arc;

use chaperone_protocol::reply::{Here, Shutdown};
use chaperone_protocol::{PROTOCOL, Reply, frame};
use serde_json::json;

use crate::broker::Broker;

pub fn here(broker: &Broker) -> Here {
    let version = chaperone_config::program::version().to_owned();
    Here { build: broker.build.clone(), version, protocol: PROTOCOL }
}

/// End this process when no session runs and nobody else asks for anything; else say why not.
pub fn leave(broker: &Broker, stream: &UnixStream) -> Shutdown {
    // Held until the process is gone: no session comes up meanwhile. One that is being opened is a conversation.
    let sessions = broker.sessions.write();
    let running = sessions.values().filter(|live| !live.has_ended()).count();
    // The broker has one of them itself, and this conversation another.
    let others = Arc::strong_count(&broker.conversations).saturating_sub(2);
    let leaving = Shutdown { leaves: running == 0 && others == 0, sessions: running, others };
    if leaving.leaves {
        // What is not signed now is signed by the next one.
        broker.log.checkpoint().ok();
        frame::send(stream, &Reply::Ok(json!(leaving)), &[]).ok();
        std::process::exit(0);
    }
    leaving
}
