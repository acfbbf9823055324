//! Whatever changes between the question and the answer: an answer holds exactly where everything that was shown is the same by
//! then, or asks for less. What is less stands here by itself, as a table, and not as the pipeline works it out.

use std::cell::{Cell, RefCell};

use chaperone_audit::Phase;
use chaperone_capability::Action;
use chaperone_pipeline::approvals::Answer;
use chaperone_pipeline::{AccessRequest, Admission, Pending};
use chaperone_policy::{Decision, Effect, Obligation, Severity};
use chaperone_protocol::Scope;
use chaperone_protocol::reason::find;
use chaperone_protocol::session::State;
use proptest::prelude::*;

use crate::support::*;

/// What policy demands, in the terms of the oracle.
#[derive(Debug, Clone)]
struct Demand {
    effect: Effect,
    redact: bool,
    stage: bool,
    /// At most so many bytes; the content is shorter than any.
    budget: Option<u64>,
    /// Says something and takes nothing away.
    alert: bool,
}

impl Demand {
    fn decision(&self, reason: &str) -> Decision {
        let obligations = [
            self.alert.then_some(Obligation::Alert { severity: Severity::Low }),
            self.budget.map(|bytes| Obligation::Budget { bytes }),
            self.stage.then_some(Obligation::Stage),
            self.redact.then_some(Obligation::Redact),
        ];
        decision(self.effect, reason, &obligations.into_iter().flatten().collect::<Vec<_>>())
    }

    /// The oracle: whether who agreed to `shown` agreed to this.
    fn asks_no_more_than(&self, shown: &Demand) -> bool {
        let effect = match (shown.effect, self.effect) {
            (_, Effect::Deny) | (Effect::Ask, Effect::StepUp) => false,
            (Effect::Ask | Effect::StepUp, _) => true,
            (Effect::Allow | Effect::Deny, _) => unreachable!("nobody is asked"),
        };
        let budget = match (shown.budget, self.budget) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(shown), Some(now)) => now >= shown,
        };
        effect && budget && (shown.redact || !self.redact) && (shown.stage || !self.stage)
    }
}

fn demands(effects: Vec<Effect>) -> impl Strategy<Value = Demand> {
    let budget = prop::option::of(prop::sample::select(vec![100, 200, 300]));
    (prop::sample::select(effects), any::<[bool; 3]>(), budget)
        .prop_map(|(effect, [redact, stage, alert], budget)| Demand { effect, redact, stage, budget, alert })
}

/// What else happens while the user thinks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meanwhile {
    Nothing,
    /// Policies are loaded anew, and say the same.
    Revision,
    AlmostLate,
    Late,
    OtherCapability,
    Revoked,
    Suspended,
    /// The file is another version, with the same bytes.
    Object,
    Content,
}

impl Meanwhile {
    fn leaves_all_as_it_was(self) -> bool {
        matches!(self, Self::Nothing | Self::Revision | Self::AlmostLate)
    }

    fn happens(self, world: &World) {
        match self {
            Self::Nothing | Self::Revision => {}
            Self::AlmostLate => world.clock.forward(59),
            Self::Late => world.clock.forward(61),
            Self::OtherCapability => world.renew_capability(),
            Self::Revoked => {
                let id = world.session.capability_id().unwrap();
                world.pipeline.ledgers.revocations.revoke(&id, now(world).unsigned_abs()).unwrap();
            }
            Self::Suspended => *world.session.state.write() = State::Suspended,
            Self::Object => world.touch("/workspace/a"),
            Self::Content => world.overwrite("/workspace/a", b"another content"),
        }
    }
}

fn meanwhile() -> impl Strategy<Value = Meanwhile> {
    use Meanwhile as M;
    let all = [M::AlmostLate, M::Late, M::OtherCapability, M::Revoked, M::Suspended, M::Object, M::Content];
    // Half of them are about what policy says alone.
    prop_oneof![
        3 => Just(M::Nothing),
        1 => Just(M::Revision),
        4 => prop::sample::select(all.to_vec()),
    ]
}

/// The user is asked about a file.
fn is_shown(world: &World, shown: &Demand) -> Pending {
    world.policy.become_("r1", inspected_then(shown.decision("personal_data")));
    world.pending(world.read("/workspace/a", b"content"))
}

#[test]
fn an_answer_holds_exactly_where_what_was_shown_is_the_same_or_more() {
    let world = RefCell::new(World::new(|_| deny(&[])));
    let (held, refused) = (Cell::new(0), Cell::new(0));
    proptest!(runner(), |(
        shown in demands(vec![Effect::Ask, Effect::StepUp]),
        later in prop::option::of(demands(vec![Effect::Allow, Effect::Ask, Effect::StepUp, Effect::Deny])),
        meanwhile in meanwhile(), redact in any::<bool>(),
    )| {
        let mut world = world.borrow_mut();
        world.fresh_session();
        let world = &*world;
        let pending = is_shown(world, &shown);
        let later = later.unwrap_or_else(|| shown.clone());
        world.policy.become_("r2", inspected_then(later.decision("too_large")));
        meanwhile.happens(world);
        let word = Answer::Approve { scope: Scope::Once, redact, pin_proof: Some([0; 16]) };
        let answered = world.answer(pending, word);
        let holds = meanwhile.leaves_all_as_it_was() && later.asks_no_more_than(&shown);
        match answered {
            Ok(granted) => {
                prop_assert!(holds, "it was not what the user agreed to");
                let only_redacted = redact || (later.effect == Effect::Allow && later.redact);
                let exact: &[u8] = if only_redacted { REDACTED } else { b"content" };
                prop_assert_eq!(released(&granted), exact);
                let intents = world.log.of(Phase::Intent);
                prop_assert!(intents.len() == 1 && intents[0].entry.approval.is_some());
                held.set(held.get() + 1);
            }
            Err(refusal) => {
                prop_assert!(!holds, "refused for nothing: {}", refusal.failure.code);
                prop_assert!(find(&refusal.failure.code).is_some(), "{} is not documented", refusal.failure.code);
                prop_assert!(world.log.of(Phase::Intent).is_empty() && world.release.seen.lock().is_empty());
                refused.set(refused.get() + 1);
            }
        }
    });
    assert!(held.get() > 10 && refused.get() > 10, "{} held, {} did not", held.get(), refused.get());
}

/// In what the next request differs from the one that the user said yes to for the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Differs {
    Nothing,
    Name,
    Content,
    Action,
    Reason,
    Policy,
    Capability,
}

fn next(world: &World, differs: Differs) -> AccessRequest {
    let (name, content): (_, &[u8]) = match differs {
        Differs::Name => ("/workspace/b", b"content"),
        Differs::Content => ("/workspace/a", b"another content"),
        _ => ("/workspace/a", b"content"),
    };
    let mut request = world.read(name, content);
    if differs == Differs::Action {
        request.action = Action::Append;
    }
    request
}

#[test]
fn a_standing_answer_covers_exactly_what_is_the_same_in_everything() {
    use Differs as D;
    let world = RefCell::new(World::new(|_| deny(&[])));
    let all =
        vec![D::Nothing, D::Name, D::Content, D::Action, D::Reason, D::Policy, D::Capability, D::Nothing];
    proptest!(runner(), |(
        shown in demands(vec![Effect::Ask]), then in demands(vec![Effect::Allow, Effect::Ask, Effect::StepUp, Effect::Deny]),
        differs in prop::sample::select(all),
    )| {
        let mut world = world.borrow_mut();
        world.fresh_session();
        let world = &*world;
        let pending = is_shown(world, &shown);
        world.answer(pending, yes_for(Scope::Session)).unwrap();
        let (revision, then) = if differs == Differs::Policy { ("r2", then) } else { ("r1", shown.clone()) };
        let reason = if differs == Differs::Reason { "too_large" } else { "personal_data" };
        world.policy.become_(revision, inspected_then(then.decision(reason)));
        world.session.decided.lock().clear();
        if differs == Differs::Capability {
            world.renew_capability();
        }
        let admitted = world.begin(next(world, differs));
        match (then.effect, differs == Differs::Nothing) {
            (Effect::Allow, _) | (Effect::Ask, true) => {
                prop_assert!(matches!(admitted, Admission::Granted(_)), "{:?}", admitted);
            }
            (Effect::Deny, _) => prop_assert!(matches!(admitted, Admission::Refused(_)), "{:?}", admitted),
            (Effect::Ask | Effect::StepUp, _) => {
                prop_assert!(matches!(admitted, Admission::Pending(_)), "{:?}", admitted);
            }
        }
    });
}
