//! What leaves is counted against the budgets of the session.

use std::hash::BuildHasher;
use std::sync::Arc;

use chaperone_egress::{Host, Level, Taken};
use chaperone_inspect::Finding;
use chaperone_pipeline::network_facts::BudgetLevel;

use crate::alerts;
use crate::exit::Exit;
use crate::session_gateway::SessionGateway;

/// The level of a budget as policy gets it; that it is nearly used up is raised.
pub(crate) fn level(gateway: &SessionGateway, host: &Host, level: Level) -> BudgetLevel {
    match level {
        Level::Fine => BudgetLevel::Fine,
        Level::Near(over) => {
            alerts::near_budget(gateway, host, over);
            BudgetLevel::Near
        }
        Level::Over(_) => BudgetLevel::Over,
    }
}

/// What is taken from the budgets for something that may yet be refused: given back when it is dropped before it was sent.
#[derive(Debug)]
pub(crate) struct Spending {
    exit: Arc<Exit>,
    taken: Option<Taken>,
}

impl Spending {
    /// For a request to `host`, with the values of the user's that were found in it.
    pub fn request(gateway: &SessionGateway, host: &Host, bytes: u64, findings: &[Finding]) -> (Level, Self) {
        let exit = Arc::clone(&gateway.exit);
        let values = values(&exit, findings);
        let (level, taken) = exit.budget.lock().take(host, bytes, values, exit.now_ms());
        (level, Self { exit, taken: Some(taken) })
    }

    /// For messages of a conversation.
    pub fn messages(gateway: &SessionGateway, host: &Host, messages: u32, bytes: u64) -> (Level, Self) {
        let exit = Arc::clone(&gateway.exit);
        let (level, taken) = exit.budget.lock().take_messages(host, messages, bytes, exit.now_ms());
        (level, Self { exit, taken: Some(taken) })
    }

    /// The values that were found in it, where that is known later than its bytes. The worse of `level` and theirs.
    pub fn also(&mut self, level: Level, findings: &[Finding]) -> Level {
        let values = values(&self.exit, findings);
        match &mut self.taken {
            Some(taken) => self.exit.budget.lock().take_values(level, taken, values),
            None => level,
        }
    }

    /// It leaves.
    pub fn sent(mut self) {
        self.taken = None;
    }
}

impl Drop for Spending {
    fn drop(&mut self) {
        if let Some(taken) = self.taken.take() {
            self.exit.budget.lock().give_back(taken, self.exit.now_ms());
        }
    }
}

/// Every different value of the findings, by a key of the session.
fn values(exit: &Exit, findings: &[Finding]) -> Vec<u64> {
    findings.iter().flat_map(|f| &f.values).map(|value| exit.value_key.hash_one(value)).collect()
}

/// Take bytes that leave now from the budget.
pub(crate) fn spend(gateway: &SessionGateway, host: &Host, bytes: u64) -> std::io::Result<()> {
    let exit = gateway.exit();
    let spent = exit.budget.lock().spend_more(host, bytes, exit.now_ms());
    match level(gateway, host, spent.level) {
        BudgetLevel::Over => Err(std::io::ErrorKind::QuotaExceeded.into()),
        _ => Ok(()),
    }
}
