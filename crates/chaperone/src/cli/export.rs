//! The arguments of `export`.

use std::path::PathBuf;

use chaperone_config::exports::{TARGETS, Target};
use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

#[derive(Debug, Args)]
pub struct Export {
    /// What to export to
    #[arg(value_name = "TARGET", value_parser = targets())]
    pub target: Target,
    /// The profile
    pub profile: String,
    /// Directory behind /workspace, as the machine that the export is for names it [default: the current directory; for windows: C:\workspace]
    #[arg(long, value_name = "DIRECTORY")]
    pub workspace: Option<String>,
    /// Image of a container [default: agent-runtime, which stands for yours]
    #[arg(long, value_name = "IMAGE")]
    pub image: Option<String>,
    /// Socket of a session's channel to the broker, as the only way out
    #[arg(long, value_name = "SOCKET")]
    pub channel: Option<String>,
    /// Port on which the broker listens (on loopback; in a cluster, of its pods), as the only way out
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
    /// Directory to write the files into, created when missing; `-` prints them
    #[arg(short, long, value_name = "DIRECTORY", default_value = "-")]
    pub output: PathBuf,
    /// Print JSON, an object with name and text for each file
    #[arg(long, conflicts_with = "output")]
    pub json: bool,
    /// What runs behind the wall [default: a shell]
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// The targets, each with its line of help.
fn targets() -> impl TypedValueParser<Value = Target> {
    let known = TARGETS.iter().map(|(_, name, about)| PossibleValue::new(*name).help(*about));
    PossibleValuesParser::from(known.collect::<Vec<_>>())
        .try_map(|name| Target::named(&name).ok_or_else(|| format!("no such target: {name}")))
}
