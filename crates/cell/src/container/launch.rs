//! The outer half of starting a container: the native launch, with a holder inside instead of cell-init.

use super::{holder, runtime};
use crate::backend::{BrokerEnds, Launched};
use crate::native;
use crate::plan::{Plan, SetupError};

/// Start a container. The caller must have one thread only.
pub(super) fn launch(plan: &Plan) -> Result<(Launched, BrokerEnds), SetupError> {
    let runtime = runtime::find()?;
    let (mut launched, ends) = native::launch(plan, |plan, prepared| holder::main(plan, prepared, &runtime))?;
    launched.enforced.runtime = Some(runtime.path);
    Ok((launched, ends))
}
