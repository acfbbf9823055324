//! A deterministic scheduler: the threads of a scenario run one at a time and change over only at [`point`]s, which are
//! before each taking of the tree's lock and around each decision. [`explore`] runs every schedule with a bounded
//! number of preemptions.

use std::cell::RefCell;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// Longer than any scenario takes; a thread that waits for so long waits for ever.
const DEADLOCK: Duration = Duration::from_secs(20);

thread_local! {
    static RUNNING: RefCell<Option<(Arc<Schedule>, usize)>> = const { RefCell::new(None) };
}

/// One run: which thread goes on at each point.
pub struct Schedule {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    turn: Option<usize>,
    ended: Vec<bool>,
    script: Vec<usize>,
    taken: Vec<Step>,
}

/// What was chosen at a point, of how many; whether another choice than the first is a preemption.
#[derive(Clone, Copy)]
struct Step {
    chosen: usize,
    of: usize,
    preempts: bool,
}

/// Where another thread may go on. Of no effect outside a scenario.
pub fn point() {
    let running = RUNNING.with_borrow(Clone::clone);
    if let Some((schedule, me)) = running {
        schedule.pass(me, false);
    }
}

/// Run a scenario under every schedule with at most `preemptions` of them; `run` makes the scenario's threads.
/// Returns the number of schedules.
pub fn explore(preemptions: usize, mut run: impl FnMut(&Arc<Schedule>)) -> usize {
    let mut scripts = vec![Vec::new()];
    let mut runs = 0;
    while let Some(script) = scripts.pop() {
        let fixed = script.len();
        let schedule = Schedule::new(script);
        run(&schedule);
        runs += 1;
        let taken = std::mem::take(&mut schedule.state.lock().unwrap().taken);
        for at in fixed..taken.len() {
            let before = taken[..at].iter().filter(|s| s.preempts && s.chosen != 0).count();
            if before + usize::from(taken[at].preempts) > preemptions {
                continue;
            }
            for other in 1..taken[at].of {
                let mut script: Vec<usize> = taken[..at].iter().map(|s| s.chosen).collect();
                script.push(other);
                scripts.push(script);
            }
        }
    }
    runs
}

impl Schedule {
    fn new(script: Vec<usize>) -> Arc<Self> {
        let state = State { turn: None, ended: Vec::new(), script, taken: Vec::new() };
        Arc::new(Self { state: Mutex::new(state), changed: Condvar::new() })
    }

    /// Run these to their ends, one step of one of them at a time.
    pub fn run(self: &Arc<Self>, threads: Vec<Box<dyn FnOnce() + Send + '_>>) {
        self.state.lock().unwrap().ended = vec![false; threads.len()];
        std::thread::scope(|scope| {
            for (me, thread) in threads.into_iter().enumerate() {
                let schedule = Arc::clone(self);
                scope.spawn(move || {
                    schedule.wait(me);
                    RUNNING.set(Some((Arc::clone(&schedule), me)));
                    let _leaves = Leaves(&schedule, me);
                    thread();
                });
            }
            let mut state = self.state.lock().unwrap();
            state.choose(None);
            self.changed.notify_all();
        });
    }

    fn pass(&self, me: usize, ends: bool) {
        let mut state = self.state.lock().unwrap();
        if ends {
            state.ended[me] = true;
        }
        state.choose((!ends).then_some(me));
        if state.turn == Some(me) {
            return;
        }
        self.changed.notify_all();
        drop(state);
        if !ends {
            self.wait(me);
        }
    }

    fn wait(&self, me: usize) {
        let state = self.state.lock().unwrap();
        let (_state, waited) =
            self.changed.wait_timeout_while(state, DEADLOCK, |s| s.turn != Some(me)).unwrap();
        assert!(!waited.timed_out(), "a thread waits for ever");
    }
}

impl State {
    fn choose(&mut self, current: Option<usize>) {
        let others = (0..self.ended.len()).filter(|t| !self.ended[*t] && Some(*t) != current);
        let able: Vec<usize> = current.into_iter().chain(others).collect();
        if able.len() < 2 {
            self.turn = able.first().copied();
            return;
        }
        let chosen = self.script.get(self.taken.len()).copied().unwrap_or(0);
        self.taken.push(Step { chosen, of: able.len(), preempts: current.is_some() });
        self.turn = able.get(chosen).copied();
    }
}

struct Leaves<'a>(&'a Schedule, usize);

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        RUNNING.set(None);
        self.0.pass(self.1, true);
    }
}
