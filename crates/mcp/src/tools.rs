//! The tools an agent sees: names, strict argument types, and the schemas made from them.

use std::borrow::Cow;
use std::sync::Arc;

use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use chaperone_protocol::Failure;

/// Largest argument document of one call, in bytes; protects memory. More is written in parts, or through the file
/// system.
pub const MAX_ARGUMENTS: usize = 16 << 20;
/// Deepest nesting of arguments. No tool takes more than three levels.
const MAX_DEPTH: usize = 16;
/// Longest path, in bytes (PATH_MAX).
const MAX_PATH: usize = 4096;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoArguments {}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OnPath {
    /// Path below /workspace; a relative one starts there
    pub path: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    #[default]
    Text,
    Base64,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadFile {
    /// Path below /workspace; a relative one starts there
    pub path: String,
    /// First byte to read
    #[serde(default)]
    pub offset: u64,
    /// Bytes to read, at most 4 MiB
    #[serde(default)]
    pub length: Option<u64>,
    #[serde(default)]
    pub encoding: Encoding,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteFile {
    /// Path below /workspace; a relative one starts there
    pub path: String,
    #[serde(alias = "contents")]
    pub content: String,
    #[serde(default)]
    pub encoding: Encoding,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rename {
    /// Path below /workspace; a relative one starts there
    pub from: String,
    /// Path below /workspace; a relative one starts there
    pub to: String,
    /// Replace what is there
    #[serde(default)]
    pub replace: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GetCsv {
    /// Absolute path of a CSV file
    pub path: String,
    /// Rows to skip
    #[serde(default)]
    pub offset: u64,
    /// Rows to return, at most 50,000
    #[serde(default)]
    pub limit: Option<u64>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StageBlob {
    pub content: String,
    #[serde(default)]
    pub encoding: Encoding,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SaveWorkbook {
    /// Absolute path of the .xlsx file
    #[serde(alias = "destPath")]
    pub dest_path: String,
    /// `sha256:HEX` of a staged blob
    #[serde(alias = "contentHash")]
    pub content_hash: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestElevation {
    /// connect (to a host), or read, write, append, list, delete, rename (of a path)
    pub action: String,
    /// Path or pattern below /workspace; a relative one starts there
    #[serde(default)]
    pub path: Option<String>,
    /// To connect: a host name, *.name or an address
    #[serde(default)]
    pub host: Option<String>,
    /// To connect: one port; without it, 80 and 443
    #[serde(default)]
    pub port: Option<u16>,
    /// Why; shown to the user as yours, untrusted
    pub reason: String,
    /// For how long, at most 3600
    #[serde(default)]
    pub seconds: Option<u64>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Attenuate {
    /// The narrower permissions
    pub permissions: Vec<PermissionArgument>,
    /// Seconds until it expires
    #[serde(default)]
    pub seconds: Option<u64>,
    /// How often it may be used
    #[serde(default)]
    pub uses: Option<u64>,
    /// Thumbprint (`jkt`) of the sub-agent's own key
    #[serde(default)]
    pub holder: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PermissionArgument {
    pub action: String,
    pub path: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fetch {
    /// Absolute https:// or http:// address
    pub url: String,
    /// GET unless told otherwise
    #[serde(default)]
    pub method: Option<String>,
    #[serde(default)]
    pub headers: std::collections::BTreeMap<String, String>,
    #[serde(default)]
    pub body: Option<String>,
    /// Of the body
    #[serde(default)]
    pub encoding: Encoding,
    /// A file below /workspace to save the answer to (staged), instead of returning it
    #[serde(default)]
    pub save_to: Option<String>,
}

/// The canonical name of a tool; camel-case spellings are accepted.
#[must_use]
pub fn canonical(name: &str) -> &str {
    match name {
        "readFile" => "read_file",
        "writeFile" => "write_file",
        "appendFile" => "append_file",
        "listDirectory" => "list_directory",
        "createDirectory" => "create_directory",
        "getCsv" => "get_csv",
        "saveWorkbook" => "save_workbook",
        "stageBlob" => "stage_blob",
        "requestElevation" => "request_elevation",
        "listAllowedHosts" => "list_allowed_hosts",
        other => other,
    }
}

/// Parse a call's arguments strictly.
///
/// # Errors
/// `bad_arguments` naming the field; `too_large` and `too_deep` for what goes beyond the limits.
pub fn parse<T: DeserializeOwned>(arguments: Option<JsonObject>) -> Result<T, Failure> {
    let mut given = arguments.unwrap_or_default();
    // Clients write null for what they leave out; what must be there is missed then.
    given.retain(|_, value| !value.is_null());
    let value = Value::Object(given);
    if depth(&value) > MAX_DEPTH {
        return Err(Failure::new("too_deep", format!("the arguments nest deeper than {MAX_DEPTH} levels")));
    }
    serde_json::from_value(value)
        .map_err(|e| Failure::new("bad_arguments", format!("invalid arguments: {e}")))
}

/// A relative path is one of the workspace, where agents start. Of a home, of a URL or of Windows it is none.
#[must_use]
pub fn below_workspace(text: &str) -> Cow<'_, str> {
    let is_relative = !text.is_empty()
        && !text.starts_with(['/', '~', '\\'])
        && !text.contains("://")
        && !text.contains(":\\");
    if is_relative { Cow::Owned(format!("/workspace/{text}")) } else { Cow::Borrowed(text) }
}

/// A normalised absolute path below `/workspace`, or why not.
///
/// # Errors
/// `bad_path` for anything that leads out of its directory. Empty names and `.` mean nothing to a file system and are left
/// out, so that all spellings of a path are judged as the one normal form; `..` depends on what links are there, and nothing
/// is decoded.
pub fn path(text: &str) -> Result<String, Failure> {
    if text != "/workspace" && !text.starts_with("/workspace/") {
        return Err(bad_path("is not below /workspace"));
    }
    let names = names(text)?;
    if names.contains(&"..") {
        return Err(bad_path("has .. in it"));
    }
    Ok(format!("/{}", names.join("/")))
}

/// The names of a path, with those that lead up.
///
/// # Errors
/// `bad_path` for what is no path.
pub fn names(text: &str) -> Result<Vec<&str>, Failure> {
    if text.len() > MAX_PATH {
        return Err(bad_path("is too long"));
    }
    if text.contains('\0') {
        return Err(bad_path("has a NUL in it"));
    }
    let names: Vec<&str> = text.split('/').filter(|name| !matches!(*name, "" | ".")).collect();
    match names.iter().any(|name| name.len() > 255) {
        true => Err(bad_path("has a name longer than 255 bytes")),
        false => Ok(names),
    }
}

fn bad_path(why: &str) -> Failure {
    Failure::new("bad_path", format!("the path {why}")).advise("use a path below /workspace")
}

/// Every tool, for `tools/list`.
// long because: one list of tools.
#[must_use]
pub fn all() -> Vec<Tool> {
    let read_only = || ToolAnnotations::new().read_only(true).open_world(false);
    let writes =
        |destructive| ToolAnnotations::new().read_only(false).destructive(destructive).open_world(false);
    vec![
        tool::<NoArguments>(
            "list_capabilities",
            "What this session may do, until when",
            read_only(),
            json!({
            "agent": string(), "session": string(), "expires": integer(), "permissions": array() }),
        ),
        tool::<OnPath>(
            "list_directory",
            "The entries of a directory",
            read_only(),
            json!({ "entries": array() }),
        ),
        tool::<OnPath>(
            "stat",
            "Kind, size and time of a file or directory",
            read_only(),
            json!({
            "path": string(), "kind": string(), "size": integer(), "modified": string(), "staged": { "type": "boolean" } }),
        ),
        tool::<ReadFile>(
            "read_file",
            "Read a file or a part of it, as text or base64",
            read_only(),
            json!({
            "content": string(), "encoding": string(), "size": integer(), "offset": integer(), "eof": { "type": "boolean" },
            "redacted": { "type": "boolean" }, "content_hash": string() }),
        ),
        tool::<WriteFile>(
            "write_file",
            "Write a whole file (staged until the user commits)",
            writes(true),
            written(),
        ),
        tool::<WriteFile>("append_file", "Append to a file (staged)", writes(false), written()),
        tool::<OnPath>(
            "create_directory",
            "Make a directory and those above it; one that is there already is fine (staged)",
            writes(false).idempotent(true),
            json!({ "path": string(), "state": string() }),
        ),
        tool::<OnPath>(
            "delete",
            "Delete a file or an empty directory (staged)",
            writes(true),
            json!({ "path": string(), "state": string() }),
        ),
        tool::<Rename>(
            "rename",
            "Rename or move a file or directory (staged)",
            writes(true),
            json!({ "path": string(), "from": string(), "state": string() }),
        ),
        tool::<GetCsv>(
            "get_csv",
            "The rows of a CSV file with header and column types",
            read_only(),
            json!({
            "header": array(), "types": array(), "rows": array(), "total_rows": integer(), "redacted": { "type": "boolean" } }),
        ),
        tool::<StageBlob>(
            "stage_blob",
            "Stage content under its hash, for save_workbook",
            writes(false),
            json!({ "content_hash": string(), "size": integer() }),
        ),
        tool::<SaveWorkbook>(
            "save_workbook",
            "Validate a staged workbook and save it (staged)",
            writes(true),
            written(),
        ),
        tool::<RequestElevation>(
            "request_elevation",
            "Ask the user for more, for a short time",
            writes(false),
            json!({ "granted": { "type": "boolean" }, "expires": integer(), "jti": string() }),
        ),
        tool::<Fetch>(
            "fetch",
            "An HTTP request to an allowed host; redirects are returned, not followed",
            ToolAnnotations::new().read_only(false).destructive(true).open_world(true),
            json!({
            "status": integer(), "headers": { "type": "object" }, "size": integer(), "content": string(), "encoding": string(),
            "saved_to": string() }),
        ),
        tool::<NoArguments>(
            "list_allowed_hosts",
            "The hosts that this session may reach",
            read_only(),
            json!({ "hosts": array() }),
        ),
        tool::<Attenuate>(
            "attenuate_capability",
            "A narrower capability for a sub-agent",
            read_only(),
            json!({ "token": string(), "jti": string(), "expires": integer() }),
        ),
    ]
}

fn tool<T: JsonSchema>(
    name: &'static str,
    description: &'static str,
    hints: ToolAnnotations,
    output: Value,
) -> Tool {
    let mut schema = schemars::schema_for!(T).to_value();
    if let Value::Object(map) = &mut schema {
        map.remove("$schema");
        map.remove("title");
        let properties = map.entry("properties").or_insert_with(|| json!({}));
        for property in properties.as_object_mut().into_iter().flat_map(|p| p.values_mut()) {
            one_type(property);
        }
        map.insert("type".into(), json!("object"));
        map.insert("additionalProperties".into(), json!(false));
    }
    let required: Vec<&String> = output.as_object().map(|o| o.keys().collect()).unwrap_or_default();
    let output = json!({ "type": "object", "properties": output, "required": required });
    let mut tool = Tool::new(Cow::Borrowed(name), Cow::Borrowed(description), Arc::new(object(schema)));
    tool.output_schema = Some(Arc::new(object(output)));
    tool.annotations = Some(hints);
    tool
}

/// What may be left out has one type, not that or null: clients of a smaller schema language cannot say the latter.
fn one_type(property: &mut Value) {
    let Some(kind) = property.get_mut("type") else { return };
    if let Some(first) = kind.as_array().and_then(|kinds| kinds.iter().find(|k| *k != "null")) {
        *kind = first.clone();
    }
}

fn object(value: Value) -> JsonObject {
    match value {
        Value::Object(map) => map,
        _ => JsonObject::default(),
    }
}

fn string() -> Value {
    json!({ "type": "string" })
}

fn integer() -> Value {
    json!({ "type": "integer" })
}

fn array() -> Value {
    json!({ "type": "array" })
}

fn written() -> Value {
    json!({ "path": string(), "size": integer(), "content_hash": string(), "state": string() })
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_path_starts_in_the_workspace() {
        for (text, whole) in [
            (".", "/workspace/."),
            ("a/b", "/workspace/a/b"),
            ("../x", "/workspace/../x"),
            (" a", "/workspace/ a"),
        ] {
            assert_eq!(below_workspace(text), whole);
        }
        for same in ["", "/etc", "/workspace/a", "~/.ssh/id", "file:///workspace/a", "C:\\a", "\\\\host\\a"] {
            assert_eq!(below_workspace(same), same);
        }
    }

    #[test]
    fn a_path_has_one_spelling_only() {
        assert_eq!(path("/workspace/a b/ü.csv").unwrap(), "/workspace/a b/ü.csv");
        for same in ["/workspace/", "/workspace//.", "/workspace/./"] {
            assert_eq!(path(same).unwrap(), "/workspace", "{same}");
        }
        for same in ["/workspace//a/b", "/workspace/./a/./b/", "/workspace/a///b/."] {
            assert_eq!(path(same).unwrap(), "/workspace/a/b", "{same}");
        }
        for bad in [
            "/etc/passwd",
            "workspace/a",
            "/workspace/../etc",
            "/workspace//../etc",
            "/./workspace/a",
            "/workspace/a/..",
            "/workspacex",
            "/workspace/a\0b",
            "",
        ] {
            assert!(path(bad).is_err(), "{bad:?}");
        }
        assert!(path(&format!("/workspace/{}", "x".repeat(300))).is_err());
    }

    #[test]
    fn null_stands_for_what_is_left_out() {
        let given = |text: &str| parse::<ReadFile>(Some(serde_json::from_str(text).unwrap()));
        assert!(given(r#"{"path":"/workspace/a","offset":null,"length":null}"#).is_ok());
        assert_eq!(given(r#"{"path":null}"#).unwrap_err().code, "bad_arguments");
        assert_eq!(
            given(r#"{"path":"/workspace/a","mode":null,"more":1}"#).unwrap_err().code,
            "bad_arguments"
        );
    }

    #[test]
    fn unknown_fields_and_deep_arguments_are_refused() {
        let unknown = serde_json::from_str(r#"{"path":"/workspace/a","mode":"rw"}"#).unwrap();
        assert_eq!(parse::<OnPath>(Some(unknown)).unwrap_err().code, "bad_arguments");
        let mut deep = json!(1);
        for _ in 0..40 {
            deep = json!([deep]);
        }
        let deep = object(json!({ "path": deep }));
        assert_eq!(parse::<OnPath>(Some(deep)).unwrap_err().code, "too_deep");
    }

    #[test]
    fn every_tool_has_a_strict_schema() {
        for tool in all() {
            assert_eq!(tool.input_schema.get("additionalProperties"), Some(&json!(false)), "{}", tool.name);
            assert!(tool.output_schema.is_some());
        }
    }
}
