//! What each tool does: resolve, ask the pipeline, perform on what was resolved, record the outcome.

mod call;
mod csv;
mod elevation;
mod files;
mod network;
mod workbook;

pub(crate) use call::Call;

use chaperone_protocol::Failure;
use rmcp::model::JsonObject;
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use self::call::Answer;
use crate::tools;

impl Call<'_> {
    /// Run a tool. `cancelled` is the client's: it voids an ask that waits.
    pub(crate) async fn run(
        &self,
        tool: &str,
        arguments: Option<JsonObject>,
        cancelled: CancellationToken,
    ) -> Answer {
        let digest = || Sha256::digest(serde_json::to_vec(&arguments).unwrap_or_default()).into();
        match tool {
            "list_directory" => self.list_directory(tools::parse(arguments)?, &cancelled).await,
            "stat" => self.stat(tools::parse(arguments)?, &cancelled).await,
            "read_file" => self.read_file(tools::parse(arguments)?, &cancelled).await,
            "write_file" => self.write_file(tools::parse(arguments)?, false, &cancelled).await,
            "append_file" => self.write_file(tools::parse(arguments)?, true, &cancelled).await,
            "delete" => self.delete(tools::parse(arguments)?, &cancelled).await,
            "rename" => self.rename(tools::parse(arguments)?, &cancelled).await,
            "get_csv" => self.get_csv(tools::parse(arguments)?, &cancelled).await,
            "save_workbook" => self.save_workbook(tools::parse(arguments)?, &cancelled).await,
            "request_elevation" => self.request_elevation(tools::parse(arguments)?, &cancelled).await,
            "fetch" => self.fetch(tools::parse(arguments)?, &cancelled).await,
            // Those that act on the session itself are decided as tools.
            "list_capabilities" => {
                let granted = self.tool("list_capabilities", digest(), &cancelled).await?;
                self.after_tool(&granted, self.list_capabilities(tools::parse(arguments)?))
            }
            "list_allowed_hosts" => {
                let granted = self.tool("list_allowed_hosts", digest(), &cancelled).await?;
                self.after_tool(&granted, self.list_allowed_hosts(tools::parse(arguments)?))
            }
            "attenuate_capability" => {
                let granted = self.tool("attenuate_capability", digest(), &cancelled).await?;
                self.after_tool(&granted, self.attenuate(tools::parse(arguments)?))
            }
            "stage_blob" => {
                let granted = self.tool("stage_blob", digest(), &cancelled).await?;
                self.after_tool(&granted, self.stage_blob(tools::parse(arguments)?))
            }
            _ => Err(Failure::new("no_such_tool", "there is no such tool")),
        }
    }
}
