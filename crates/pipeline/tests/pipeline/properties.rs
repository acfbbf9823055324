//! Over whatever is asked, decided, answered and broken: nothing is granted without a recorded intent before it.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};

use chaperone_audit::Phase;
use chaperone_capability::Action;
use chaperone_pipeline::{AccessRequest, Admission, Authorized, Refusal, Resource};
use chaperone_policy::{Decision, Effect, Obligation, Severity};
use chaperone_protocol::reason::find;
use proptest::prelude::*;

use chaperone_pipeline::pipeline::UsersWord;

use crate::support::*;

fn effects() -> impl Strategy<Value = Effect> {
    prop_oneof![Just(Effect::Allow), Just(Effect::Ask), Just(Effect::StepUp), Just(Effect::Deny)]
}

fn decisions() -> impl Strategy<Value = Decision> {
    let obligation = prop_oneof![
        Just(Obligation::Inspect),
        Just(Obligation::Redact),
        Just(Obligation::Stage),
        (0u64..20).prop_map(|bytes| Obligation::Budget { bytes }),
        Just(Obligation::Notify),
        Just(Obligation::Alert { severity: Severity::High }),
        Just(Obligation::Suspend),
    ];
    let reason = prop_oneof![Just("personal_data"), Just(""), Just("too_large")];
    (effects(), reason, prop::collection::vec(obligation, 0..3)).prop_map(|(effect, reason, obligations)| {
        Decision { cacheable: false, ..decision(effect, reason, &obligations) }
    })
}

#[derive(Debug, Clone)]
enum Asked {
    Read { verbatim: bool },
    Change,
    Outside,
    Send { leaves: bool },
    Tool,
}

fn asked() -> impl Strategy<Value = Asked> {
    prop_oneof![
        any::<bool>().prop_map(|verbatim| Asked::Read { verbatim }),
        Just(Asked::Change),
        Just(Asked::Outside),
        any::<bool>().prop_map(|leaves| Asked::Send { leaves }),
        Just(Asked::Tool),
    ]
}

fn request(world: &World, asked: &Asked) -> AccessRequest {
    match asked {
        Asked::Read { verbatim } => {
            let mut request = world.read("/workspace/a", b"content");
            if let Resource::File(file) = &mut request.resource {
                file.verbatim = *verbatim;
            }
            request
        }
        Asked::Change => change(Action::Delete, "/workspace/a"),
        Asked::Outside => change(Action::Delete, "/elsewhere/a"),
        Asked::Send { leaves } => {
            let mut resource = post(1, 10);
            resource.leaves = *leaves;
            send(resource)
        }
        Asked::Tool => tool("list_changes", 1),
    }
}

fn ports() -> impl Strategy<Value = Option<(&'static str, Fault, usize)>> {
    let port = prop::sample::select(vec![
        "policy.current",
        "policy.decide",
        "inspect",
        "redact",
        "vault.fingerprint",
        "vault.second_factor",
        "vault.sign_approval",
        "log.append",
        "log.wait",
        "clock",
        "release",
        "cell",
    ]);
    let fault = prop_oneof![Just(Fault::Fails), Just(Fault::Panics), Just(Fault::TimesOut)];
    prop::option::of((port, fault, 0usize..4))
}

fn outcome(world: &World, request: AccessRequest, redacts: Option<bool>) -> Result<Authorized, Refusal> {
    match world.begin(request) {
        Admission::Granted(granted) => Ok(granted),
        Admission::Refused(refusal) => Err(refusal),
        Admission::Pending(pending) => {
            let id = world.pipeline.approvals.pending()[0].id.clone();
            let answer = match redacts {
                None => no(),
                Some(redact) => chaperone_pipeline::approvals::Answer::Approve {
                    scope: chaperone_protocol::Scope::Session,
                    redact,
                    pin_proof: Some([0; 16]),
                },
            };
            world.pipeline.approvals.answer(&id, answer).unwrap();
            world.pipeline.resume(&world.session, *pending, &|| false)
        }
    }
}

#[test]
fn nothing_is_granted_without_a_recorded_intent_before_it() {
    let world = RefCell::new(World::new(|_| deny(&[])));
    let granted_in_all = Cell::new(0);
    proptest!(runner(), |(
        first in decisions(), then in decisions(), asked in asked(), redacts in prop::option::of(any::<bool>()),
        broken in ports(), commits in any::<bool>(),
    )| {
        let mut world = world.borrow_mut();
        world.fresh_session();
        let world = &*world;
        let (early, late) = (first.clone(), then.clone());
        world.policy.become_("r1", move |input| {
            if input["inspected"] == true || input.get("approved").is_some() { late.clone() } else { early.clone() }
        });
        if let Some((port, fault, calls)) = broken {
            world.faults.set_after(port, fault, calls);
        }
        let ended = catch_unwind(AssertUnwindSafe(|| {
            let request = request(world, &asked);
            if commits {
                let word = UsersWord { named: redacts.is_some(), ..UsersWord::default() };
                world.pipeline.commit(&world.session, request, &word)
            } else {
                outcome(world, request, redacts)
            }
        }));
        let log_works = broken.is_none_or(|(port, ..)| port != "log.append" && port != "clock");
        match ended {
            Err(_) => prop_assert!(false, "a panic came out"),
            Ok(Err(refusal)) => {
                prop_assert!(find(&refusal.failure.code).is_some(), "{} is not documented", refusal.failure.code);
                prop_assert!(!refusal.rule.is_empty());
                let told = world.log.of(Phase::Outcome);
                let is_told = told.iter().any(|w| {
                    w.entry.effect == "deny" && w.entry.rule.as_ref() == Some(&refusal.rule)
                });
                prop_assert!(is_told || !log_works, "the refusal is recorded");
            }
            Ok(Ok(mut granted)) => {
                let all = world.log.all();
                let intent = all.get(usize::try_from(granted.intent).unwrap()).expect("a recorded intent");
                prop_assert_eq!(intent.entry.phase, Phase::Intent);
                prop_assert_eq!(&intent.entry.action, granted.request().action.as_str());
                prop_assert!(!matches!(asked, Asked::Outside) || commits);
                let effects = [first.effect, then.effect];
                prop_assert!(effects.iter().any(|e| *e != Effect::Deny));
                // Without a yes there is an allow.
                prop_assert!(redacts.is_some() || effects.contains(&Effect::Allow));
                granted_in_all.set(granted_in_all.get() + 1);
                if granted.network().is_some_and(|n| n.leaves) {
                    prop_assert!(!intent.on_disk);
                    // A log that panics here ends in the adapter's own thread: what was to be sent is not.
                    let waited = catch_unwind(AssertUnwindSafe(|| granted.syncing().wait()));
                    let waited = waited.ok().and_then(Result::ok);
                    let is_on_disk = world.log.all()[usize::try_from(granted.intent).unwrap()].on_disk;
                    prop_assert_eq!(waited.is_some(), is_on_disk);
                }
                if let Some(released) = &granted.released {
                    let exact: &[u8] = if granted.redacted { REDACTED } else { b"content" };
                    prop_assert_eq!(bytes_of(&released.file), exact);
                }
            }
        }
    });
    assert!(granted_in_all.get() > 3, "the property speaks of something");
}
