//! What leaves is counted against the budgets of the session.

use chaperone_egress::{Host, Level};
use chaperone_pipeline::network_facts::BudgetLevel;

use crate::alerts;
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

/// Of two levels the one that is nearer to the end.
pub(crate) fn worse(one: Level, other: Level) -> Level {
    match (one, other) {
        (Level::Over(_), _) | (Level::Near(_), Level::Near(_) | Level::Fine) => one,
        (Level::Fine | Level::Near(_), _) => other,
    }
}

/// Take bytes that are about to leave from the budget.
pub(crate) fn spend(gateway: &SessionGateway, host: &Host, bytes: u64) -> std::io::Result<()> {
    let exit = gateway.exit();
    let spent = exit.budget.lock().spend_more(host, bytes, exit.now_ms());
    match level(gateway, host, spent.level) {
        BudgetLevel::Over => Err(std::io::ErrorKind::QuotaExceeded.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chaperone_egress::Over;

    #[test]
    fn the_worse_of_two_levels_counts() {
        let (fine, near, over) =
            (Level::Fine, Level::Near(Over::TotalBytes), Level::Over(Over::DestinationBytes));
        for (one, other, worst) in [
            (fine, fine, fine),
            (fine, near, near),
            (near, fine, near),
            (near, over, over),
            (over, near, over),
        ] {
            assert_eq!(worse(one, other), worst, "{one:?} and {other:?}");
        }
    }
}
