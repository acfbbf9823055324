//! `doctor`: what this machine can enforce, tried for real.

use std::path::Path;

use chaperone_cell::{BACKENDS, Backend, Layer, LayerState};
use chaperone_config::dirs::Dirs;
use chaperone_config::policy_files;
use chaperone_protocol::counted;
use serde_json::json;

use crate::out::say;
use crate::report::Report;
use crate::show;

pub fn doctor(as_json: bool) -> Result<u8, Report> {
    let exe = std::env::current_exe().map_err(Report::of)?;
    let backends: Vec<Vec<Layer>> = BACKENDS.iter().map(|backend| layers_of(*backend, &exe)).collect();
    let state = state();
    let cannot_run = backends.iter().all(|layers| lacks(layers)) || lacks(std::slice::from_ref(&state));
    let layers: Vec<Layer> =
        backends.into_iter().flatten().chain([state, pack()]).chain(policies()).collect();
    if as_json {
        show::json(&json!(layers));
        return Ok(u8::from(cannot_run));
    }
    for layer in &layers {
        let state = match layer.state {
            LayerState::Ok => "ok",
            LayerState::Partial => "partial",
            LayerState::Missing => "missing",
        };
        say!("{state:8} {:11} {}", layer.layer, layer.detail);
        if let Some(fix) = &layer.fix {
            say!("{:21}To fix this: {fix}", "");
        }
    }
    if cannot_run {
        say!("no cell can run on this machine until the required layers that are missing are fixed");
    }
    Ok(u8::from(cannot_run))
}

/// What this program is started for by whoever needs to know whether containers can be made, and has many threads.
pub fn try_a_container() -> Result<u8, Report> {
    let exe = std::env::current_exe().map_err(Report::of)?;
    say!("{}", chaperone_cell::try_a_container(&exe).map_err(Report::of)?);
    Ok(0)
}

/// A backend, and the layers of its cells.
fn layers_of(backend: &dyn Backend, exe: &Path) -> Vec<Layer> {
    let own = backend.probe(exe);
    let named = format!("{}: {}", backend.name(), backend.help());
    let (state, detail, fix) = match backend.available() {
        Err(why) => (LayerState::Missing, format!("{named}; {why}"), why.fix),
        Ok(()) if lacks(&own) => {
            (LayerState::Missing, format!("{named}; without a layer that it needs"), None)
        }
        Ok(()) if backend.is_for_asking() => {
            (LayerState::Partial, format!("{named}; taken by its name alone"), None)
        }
        Ok(()) => (LayerState::Ok, named, None),
    };
    let mut layers = vec![Layer { layer: "backend", state, required: false, detail, fix }];
    layers.extend(own);
    layers
}

fn lacks(layers: &[Layer]) -> bool {
    layers.iter().any(|l| l.required && l.state == LayerState::Missing)
}

/// The user's own policies, with the first that does not load.
fn policies() -> Option<Layer> {
    let sources = Dirs::from_environment()
        .map_err(|e| e.to_string())
        .and_then(|dirs| policy_files::sources(&dirs).map_err(|e| e.message));
    let detail = sources.map_or_else(Some, policy_files::problem)?;
    let fix = Some("chaperone policy check".to_owned());
    Some(Layer { layer: "policies", state: LayerState::Partial, required: false, detail, fix })
}

/// The data that was compiled in, and whether it is what its manifest lists.
fn pack() -> Layer {
    let read = chaperone_packs::manifest().and_then(|m| Ok((m, chaperone_packs::differences()?)));
    let sum = chaperone_packs::digest().get(..16).unwrap_or_default();
    let (state, detail) = match read {
        Ok((m, differences)) if differences.is_empty() => (
            LayerState::Ok,
            format!("{} {}, {}, sha256 {sum}…", m.name, m.version, counted(m.files.len(), "file")),
        ),
        Ok((m, differences)) => {
            let places = counted(differences.len(), "place");
            (LayerState::Partial, format!("{} {} was changed in {places}, sha256 {sum}…", m.name, m.version))
        }
        Err(e) => (LayerState::Partial, e.to_string()),
    };
    Layer { layer: "pack", state, required: false, detail, fix: None }
}

/// The installation's own directories.
fn state() -> Layer {
    let checked = Dirs::from_environment().and_then(|d| d.prepare().map(|()| d));
    let (state, detail, fix) = match checked {
        Ok(dirs) => (LayerState::Ok, format!("state in {}", dirs.state.display()), None),
        Err(e) => {
            let text = e.to_string();
            let fix = text.split_once("run: ").map(|(_, line)| line.to_owned());
            (LayerState::Missing, text, fix)
        }
    };
    Layer { layer: "state", state, required: true, detail, fix }
}
