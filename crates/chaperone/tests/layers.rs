//! The workspace as cargo sees it, held against layers.toml: imports lead downward only. And what only one crate may name.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

use serde::Deserialize;

#[test]
fn every_crate_imports_only_what_stands_below_it() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let done = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let metadata = serde_json::from_slice(&done.stdout).expect("cargo prints JSON");
    let faults = faults(&committed(), &metadata);
    assert!(faults.is_empty(), "layers.toml and the workspace differ:\n{}", faults.join("\n"));
}

#[test]
fn pure_crates_are_held_to_it_by_clippy() {
    let layers = committed();
    let rules = std::fs::read_to_string(root().join("clippy-pure.toml")).unwrap();
    for name in layers.pure.iter().filter(|name| !layers.planned.contains(*name)) {
        let own = std::fs::read_to_string(root().join("crates").join(name).join("clippy.toml"));
        assert_eq!(
            own.ok().as_ref(),
            Some(&rules),
            "crates/{name}/clippy.toml must be a link to ../../clippy-pure.toml"
        );
    }
}

#[test]
fn only_the_crate_of_system_calls_has_unsafe_code() {
    for name in committed().floors.keys().filter(|name| *name != "sys") {
        let source = |file: &str| std::fs::read_to_string(root().join("crates").join(name).join(file));
        // A crate that is planned is not there.
        let Ok(text) = source("src/lib.rs").or_else(|_| source("src/main.rs")) else { continue };
        assert!(text.contains("\n#![forbid(unsafe_code)]\n"), "crates/{name} does not forbid unsafe code");
    }
}

#[test]
fn imports_that_lead_downward_are_no_fault() {
    let faults = faults(
        &synthetic(),
        &workspace(&[
            ("house", &["wall", "stone"]),
            ("wall", &["stone"]),
            ("door", &["wall", "sand"]),
            ("stone", &[]),
            ("sand", &[]),
        ]),
    );
    assert_eq!(faults, [""; 0]);
}

#[test]
fn an_import_that_leads_upward_is_a_fault_of_whatever_kind_it_is() {
    for kind in ["null", "\"dev\"", "\"build\""] {
        let metadata = workspace_of(
            &[("house", &[]), ("wall", &["house"]), ("door", &["wall"]), ("stone", &[]), ("sand", &[])],
            kind,
        );
        let faults = faults(&synthetic(), &metadata);
        assert_eq!(faults, ["wall (floor 2) imports house (floor 3)"]);
    }
}

#[test]
fn neighbours_may_import_one_another_only_where_it_is_listed_with_its_reason() {
    let wall_by_door =
        workspace(&[("house", &[]), ("wall", &[]), ("door", &["wall"]), ("stone", &[]), ("sand", &[])]);
    assert_eq!(faults(&synthetic(), &wall_by_door), [""; 0]);
    let door_by_wall =
        workspace(&[("house", &[]), ("wall", &["door"]), ("door", &["wall"]), ("stone", &[]), ("sand", &[])]);
    assert_eq!(
        faults(&synthetic(), &door_by_wall),
        ["wall and door stand on floor 2: not without a reason in layers.toml"]
    );
    let mut unreasoned = synthetic();
    unreasoned.within_a_floor[0].reason.clear();
    assert_eq!(faults(&unreasoned, &wall_by_door), ["door imports wall without a reason"]);
    let unused = workspace(&[("house", &[]), ("wall", &[]), ("door", &[]), ("stone", &[]), ("sand", &[])]);
    assert_eq!(faults(&synthetic(), &unused), ["door no longer imports wall: take it out of layers.toml"]);
}

#[test]
fn who_is_to_be_alone_has_no_exception() {
    let mut layers = synthetic();
    layers.within_a_floor.push(Exception {
        from: "stone".into(),
        to: "sand".into(),
        reason: "convenient".into(),
    });
    let metadata =
        workspace(&[("house", &[]), ("wall", &[]), ("door", &["wall"]), ("stone", &["sand"]), ("sand", &[])]);
    assert_eq!(faults(&layers, &metadata), ["stone is to be alone, but imports sand"]);
    layers.within_a_floor.pop();
    layers.floors.insert("sand".into(), 0);
    assert_eq!(faults(&layers, &metadata), [""; 0], "everything may stand on the ground");
}

#[test]
fn a_crate_that_is_not_listed_or_not_there_is_a_fault() {
    let more = [
        ("house", &[][..]),
        ("wall", &[]),
        ("door", &["wall"]),
        ("stone", &[]),
        ("sand", &[]),
        ("attic", &[]),
    ];
    assert_eq!(faults(&synthetic(), &workspace(&more)), ["attic has no floor in layers.toml"]);
    assert_eq!(
        faults(&synthetic(), &workspace(&more[..4])),
        ["sand has a floor, but is no crate of the workspace"]
    );
}

#[test]
fn a_planned_crate_leaves_the_plan_when_it_comes() {
    let mut layers = synthetic();
    layers.planned.insert("sand".into());
    let without = [("house", &[][..]), ("wall", &[]), ("door", &["wall"]), ("stone", &[])];
    assert_eq!(faults(&layers, &workspace(&without)), [""; 0]);
    let with = [("house", &[][..]), ("wall", &[]), ("door", &["wall"]), ("stone", &[]), ("sand", &[])];
    assert_eq!(faults(&layers, &workspace(&with)), ["sand is there: take it out of `planned`"]);
    layers.planned = BTreeSet::from(["cellar".into()]);
    assert_eq!(faults(&layers, &workspace(&with)), ["cellar is planned, but has no floor"]);
}

#[test]
fn who_stands_apart_neither_imports_nor_is_imported() {
    let mut layers = synthetic();
    layers.apart.insert("garden".into());
    let (wall, stone, sand): ((_, &[&str]), _, _) = (("wall", &[]), ("stone", &[][..]), ("sand", &[][..]));
    let importing =
        workspace(&[("house", &[]), wall, ("door", &["wall"]), stone, sand, ("garden", &["stone"])]);
    assert_eq!(faults(&layers, &importing), ["garden stands apart, but imports stone"]);
    let imported =
        workspace(&[("house", &["garden"]), wall, ("door", &["wall"]), stone, sand, ("garden", &[])]);
    assert_eq!(faults(&layers, &imported), ["house imports garden, which stands apart"]);
}

#[test]
fn what_is_never_to_be_imported_is_a_fault_whosever_crate_it_is() {
    let metadata =
        workspace(&[("house", &["wall"]), ("wall", &[]), ("door", &["wall"]), ("stone", &[]), ("sand", &[])]);
    let faults_with = |never: &str| {
        let mut layers = synthetic();
        layers.never = toml::from_str(never).unwrap();
        faults(&layers, &metadata)
    };
    assert_eq!(faults_with(r#"house = ["stone", "hyper"]"#), [""; 0]);
    assert_eq!(faults_with(r#"house = ["wall"]"#), ["house imports wall, which it never may"]);
    assert_eq!(faults_with(r#"sand = ["serde"]"#), ["sand imports serde, which it never may"]);
    let unknown = "attic is never to import something, but is no crate of the workspace";
    assert_eq!(faults_with(r#"attic = ["serde"]"#), [unknown]);
}

#[test]
fn no_backend_is_named_outside_of_the_crate_of_cells() {
    let names: Vec<&str> = chaperone_cell::BACKENDS.iter().map(|backend| backend.name()).collect();
    let mut named = Vec::new();
    for name in committed().floors.keys().filter(|name| *name != "cell") {
        let mut directories = vec![root().join("crates").join(name).join("src")];
        while let Some(directory) = directories.pop() {
            // A crate that is planned is not there.
            for entry in std::fs::read_dir(directory).into_iter().flatten() {
                let path = entry.unwrap().path();
                let stem = path.file_stem().unwrap_or_default();
                if path.is_dir() {
                    directories.push(path);
                } else if stem != "tests" && path.extension().is_some_and(|e| e == "rs") {
                    let text = std::fs::read_to_string(&path).unwrap();
                    let lines = backends_named(&text, &names);
                    named.extend(lines.map(|line| format!("{}:{line}", path.display())));
                }
            }
        }
    }
    assert!(named.is_empty(), "ask `chaperone_cell` for the backend's name instead: {named:#?}");
}

#[test]
fn a_backend_is_named_by_its_word_alone_or_beside_the_word_backend() {
    let named = |text: &str| backends_named(text, &["brick"]).collect::<Vec<_>>();
    for line in [
        "backend: \"brick\".to_owned(),",
        "use_it(\"brick\")",
        "advise(\"use --backend brick\")",
        "/// The backend [default: brick]",
        "launch(&Backend::by_name(BRICK_OR, \"brick or straw\"))",
    ] {
        assert_eq!(named(&format!("fn a() {{\n    {line}\n}}")), [2], "{line}");
    }
    for line in [
        "// The backend brick is one of them.",
        "//! The backend brick",
        "let brick = 1; // wall",
        "words(b\"brick\")",
        "\"bricks of a backend\"",
        "#[cfg(test)] mod tests { fn backend() -> &str { \"brick\" } }",
    ] {
        assert_eq!(named(line), [0; 0], "{line}");
    }
}

/// Lines of a source, its tests left out, that name a backend.
fn backends_named<'a>(text: &'a str, names: &'a [&str]) -> impl Iterator<Item = usize> + 'a {
    let code = text.lines().enumerate().take_while(|(_, line)| !line.starts_with("#[cfg(test)]"));
    let names_one = |line: &str| {
        let speaks_of_backends = line.to_lowercase().contains("backend");
        names.iter().any(|name| {
            let literal = format!("\"{name}\"");
            let alone = line.match_indices(&literal).any(|(at, _)| !line[..at].ends_with('b'));
            alone
                || speaks_of_backends && line.split(|c: char| !c.is_alphanumeric()).any(|word| word == *name)
        })
    };
    let is_remark = |line: &str| line.starts_with("// ") || line.starts_with("//!");
    code.filter(move |(_, line)| !is_remark(line.trim_start()) && names_one(line)).map(|(at, _)| at + 1)
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Layers {
    floors: BTreeMap<String, u8>,
    #[serde(default)]
    apart: BTreeSet<String>,
    #[serde(default)]
    planned: BTreeSet<String>,
    #[serde(default)]
    alone: BTreeSet<String>,
    #[serde(default)]
    pure: BTreeSet<String>,
    #[serde(default)]
    never: BTreeMap<String, BTreeSet<String>>,
    #[serde(default)]
    within_a_floor: Vec<Exception>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exception {
    from: String,
    to: String,
    reason: String,
}

/// What of `cargo metadata` is looked at.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
}

/// What is wrong with the workspace, a line each.
fn faults(layers: &Layers, metadata: &Metadata) -> Vec<String> {
    let crates: BTreeSet<&str> = metadata.packages.iter().map(|package| short(&package.name)).collect();
    let imports: BTreeSet<(&str, &str)> = metadata
        .packages
        .iter()
        .flat_map(|package| package.dependencies.iter().map(|to| (short(&package.name), short(&to.name))))
        .filter(|(from, to)| from != to && crates.contains(to))
        .collect();
    let mut faults = faults_of_the_list(layers, &crates);
    faults.extend(imports.iter().filter_map(|&(from, to)| fault_of(layers, from, to)));
    for package in &metadata.packages {
        let from = short(&package.name);
        let never = layers.never.get(from);
        let all: BTreeSet<&str> = package.dependencies.iter().map(|to| short(&to.name)).collect();
        let imported = all.into_iter().filter(|to| never.is_some_and(|never| never.contains(*to)));
        faults.extend(imported.map(|to| format!("{from} imports {to}, which it never may")));
    }
    for Exception { from, to, .. } in &layers.within_a_floor {
        let is_planned = layers.planned.contains(from) || layers.planned.contains(to);
        if !is_planned && !imports.contains(&(from.as_str(), to.as_str())) {
            faults.push(format!("{from} no longer imports {to}: take it out of layers.toml"));
        }
    }
    faults
}

fn faults_of_the_list(layers: &Layers, crates: &BTreeSet<&str>) -> Vec<String> {
    let mut faults = Vec::new();
    for name in crates {
        if !layers.floors.contains_key(*name) && !layers.apart.contains(*name) {
            faults.push(format!("{name} has no floor in layers.toml"));
        }
    }
    for name in layers.floors.keys().chain(&layers.apart) {
        match (crates.contains(name.as_str()), layers.planned.contains(name)) {
            (false, false) => faults.push(format!("{name} has a floor, but is no crate of the workspace")),
            (true, true) => faults.push(format!("{name} is there: take it out of `planned`")),
            _ => {}
        }
    }
    for name in layers.never.keys().filter(|name| !crates.contains(name.as_str())) {
        faults.push(format!("{name} is never to import something, but is no crate of the workspace"));
    }
    for name in &layers.planned {
        if !layers.floors.contains_key(name) {
            faults.push(format!("{name} is planned, but has no floor"));
        }
    }
    faults
}

fn fault_of(layers: &Layers, from: &str, to: &str) -> Option<String> {
    if layers.apart.contains(from) {
        return Some(format!("{from} stands apart, but imports {to}"));
    }
    if layers.apart.contains(to) {
        return Some(format!("{from} imports {to}, which stands apart"));
    }
    // One that is not listed is a fault already.
    let (upper, lower) = (layers.floors.get(from)?, layers.floors.get(to)?);
    if layers.alone.contains(from) && *lower > 0 {
        return Some(format!("{from} is to be alone, but imports {to}"));
    }
    if upper > lower {
        return None;
    }
    if upper < lower {
        return Some(format!("{from} (floor {upper}) imports {to} (floor {lower})"));
    }
    match layers.within_a_floor.iter().find(|pair| pair.from == from && pair.to == to) {
        None => Some(format!("{from} and {to} stand on floor {upper}: not without a reason in layers.toml")),
        Some(pair) if pair.reason.trim().is_empty() => Some(format!("{from} imports {to} without a reason")),
        Some(_) => None,
    }
}

fn short(package: &str) -> &str {
    package.strip_prefix("chaperone-").unwrap_or(package)
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn committed() -> Layers {
    toml::from_str(&std::fs::read_to_string(root().join("layers.toml")).unwrap())
        .expect("layers.toml is as it should be")
}

fn synthetic() -> Layers {
    toml::from_str(
        r#"
        alone = ["stone"]
        floors = { house = 3, wall = 2, door = 2, stone = 1, sand = 1 }
        within-a-floor = [{ from = "door", to = "wall", reason = "a door hangs in a wall" }]
        "#,
    )
    .unwrap()
}

fn workspace(crates: &[(&str, &[&str])]) -> Metadata {
    workspace_of(crates, "null")
}

/// As cargo prints it, with one dependency of another's, too.
fn workspace_of(crates: &[(&str, &[&str])], kind: &str) -> Metadata {
    let packages: Vec<String> = crates
        .iter()
        .map(|(name, imports)| {
            let ours = imports
                .iter()
                .map(|to| format!(r#"{{"name": "chaperone-{to}", "kind": {kind}, "path": "/crates/{to}"}}"#));
            let all: Vec<String> = ours.chain([r#"{"name": "serde", "kind": null}"#.to_string()]).collect();
            format!(r#"{{"name": "chaperone-{name}", "dependencies": [{}]}}"#, all.join(", "))
        })
        .collect();
    serde_json::from_str(&format!(r#"{{"packages": [{}], "version": 1}}"#, packages.join(", "))).unwrap()
}
