//! What each tool does: resolve, ask the pipeline, perform on what was resolved, record the outcome.

mod arguments;
mod call;
mod csv;
mod elevation;
mod files;
mod folders;
mod links;
mod network;
mod workbook;

pub(crate) use call::Call;

use chaperone_pipeline::Authorized;
use chaperone_protocol::Failure;
use rmcp::model::JsonObject;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use self::arguments::Arguments;
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
        match tool {
            "list_directory" => self.list_directory(tools::parse(arguments)?, &cancelled).await,
            "stat" => self.stat(tools::parse(arguments)?, &cancelled).await,
            "read_file" => self.read_file(tools::parse(arguments)?, &cancelled).await,
            "write_file" => self.write_file(tools::parse(arguments)?, false, &cancelled).await,
            "append_file" => self.write_file(tools::parse(arguments)?, true, &cancelled).await,
            "create_directory" => self.create_directory(tools::parse(arguments)?, &cancelled).await,
            "delete" => self.delete(tools::parse(arguments)?, &cancelled).await,
            "rename" => self.rename(tools::parse(arguments)?, &cancelled).await,
            "get_csv" => self.get_csv(tools::parse(arguments)?, &cancelled).await,
            "save_workbook" => self.save_workbook(tools::parse(arguments)?, &cancelled).await,
            "request_elevation" => self.request_elevation(tools::parse(arguments)?, &cancelled).await,
            "fetch" => self.fetch(tools::parse(arguments)?, &cancelled).await,
            // Those that act on the session itself are decided as tools.
            "list_capabilities" => {
                self.on_session("list_capabilities", arguments, &cancelled, Self::list_capabilities).await
            }
            "list_allowed_hosts" => {
                self.on_session("list_allowed_hosts", arguments, &cancelled, Self::list_allowed_hosts).await
            }
            "attenuate_capability" => {
                self.on_session("attenuate_capability", arguments, &cancelled, Self::attenuate).await
            }
            "stage_blob" => self.on_session("stage_blob", arguments, &cancelled, Self::stage_blob).await,
            _ => Err(Failure::new("no_such_tool", "there is no such tool")),
        }
    }

    /// Decide on a call that acts on the session itself, perform it as it was decided, and record how it ended.
    async fn on_session<T: DeserializeOwned>(
        &self,
        tool: &'static str,
        arguments: Option<JsonObject>,
        cancelled: &CancellationToken,
        perform: impl FnOnce(&Self, &Authorized, Arguments<T>) -> Answer,
    ) -> Answer {
        let arguments = Arguments::parse(arguments)?;
        let granted = self.tool(tool, arguments.digest(), cancelled).await?;
        let answer = perform(self, &granted, arguments);
        self.after_tool(&granted, answer)
    }
}
