//! The language agrees with OPA's compliance cases, apart from the listed gaps. The cases lie in `$CHAPERONE_CASES/opa`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use regorus::utils::limits::ExecutionTimerConfig;
use serde_json::Value;

/// One case a line: `directory/file.json#index note`. Written by running with `CHAPERONE_WRITE_GAPS=1`.
const GAPS: &str = "rego_known_gaps.txt";

#[test]
fn the_language_agrees_with_opa_apart_from_known_gaps() {
    let Some(root) = std::env::var_os("CHAPERONE_CASES").map(|c| Path::new(&c).join("opa")) else {
        println!("SKIPPED the_language_agrees_with_opa_apart_from_known_gaps: CHAPERONE_CASES is not set");
        return;
    };
    // Panics of builtins are counted as gaps; their messages would bury the result.
    std::panic::set_hook(Box::new(|_| {}));
    let (mut total, mut gaps) = (0, BTreeSet::new());
    for file in files(&root) {
        let text = std::fs::read_to_string(&file).unwrap();
        let cases: Value = serde_json::from_str(&text).unwrap();
        for (index, case) in cases["cases"].as_array().unwrap().iter().enumerate() {
            total += 1;
            let agreed = catch_unwind(AssertUnwindSafe(|| agrees(case))).unwrap_or(false);
            if !agreed {
                let name = file.strip_prefix(&root).unwrap().display().to_string();
                gaps.insert(format!("{name}#{index} {}", case["note"].as_str().unwrap_or_default()));
            }
        }
    }
    drop(std::panic::take_hook());
    assert!(total > 0, "no cases below {}", root.display());
    println!("{} of {total} cases agree", total - gaps.len());
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(GAPS);
    if std::env::var_os("CHAPERONE_WRITE_GAPS").is_some() {
        let text: String = gaps.iter().map(|g| format!("{g}\n")).collect();
        std::fs::write(&list, text).unwrap();
    }
    let listed = std::fs::read_to_string(&list).unwrap();
    let known: BTreeSet<String> = listed.lines().map(str::to_owned).collect();
    let new: Vec<_> = gaps.difference(&known).collect();
    let closed: Vec<_> = known.difference(&gaps).collect();
    assert!(new.is_empty() && closed.is_empty(), "new gaps: {new:#?}; no longer gaps: {closed:#?}");
}

fn files(root: &Path) -> Vec<PathBuf> {
    let entries = |folder: &Path| -> Vec<PathBuf> {
        std::fs::read_dir(folder).map(|e| e.flatten().map(|e| e.path()).collect()).unwrap_or_default()
    };
    let mut files: Vec<PathBuf> = entries(root)
        .iter()
        .flat_map(|f| entries(f))
        .filter(|f| f.extension().is_some_and(|e| e == "json"))
        .collect();
    files.sort();
    files
}

fn agrees(case: &Value) -> bool {
    let fails = case.get("want_error").is_some() || case.get("want_error_code").is_some();
    match results(case) {
        Err(_) => fails,
        Ok(_) if fails => false,
        Ok(results) => match case.get("want_result") {
            Some(wanted) => ordered(&results) == ordered(wanted),
            None => true,
        },
    }
}

fn results(case: &Value) -> Result<Value, String> {
    let mut engine = regorus::Engine::new();
    engine.set_rego_v0(false);
    engine.set_strict_builtin_errors(case["strict_error"].as_bool().unwrap_or(false));
    engine.set_execution_timer_config(ExecutionTimerConfig {
        limit: Duration::from_secs(2),
        check_interval: std::num::NonZeroU32::new(1000).unwrap(),
    });
    for (index, module) in case["modules"].as_array().into_iter().flatten().enumerate() {
        let text = module.as_str().unwrap_or_default().to_owned();
        engine.add_policy(format!("module{index}.rego"), text).map_err(|e| e.to_string())?;
    }
    if let Some(data) = case.get("data") {
        engine.add_data(regorus::Value::from(data.clone())).map_err(|e| e.to_string())?;
    }
    if let Some(input) = case.get("input") {
        engine.set_input(regorus::Value::from(input.clone()));
    } else if let Some(term) = case["input_term"].as_str() {
        let term =
            regorus::Engine::new().eval_query(format!("x := {term}"), false).map_err(|e| e.to_string())?;
        let value =
            term.result.first().map(|r| r.bindings["x"].clone()).ok_or("the input term is undefined")?;
        engine.set_input(value);
    }
    let query = case["query"].as_str().unwrap_or_default().to_owned();
    let answers = engine.eval_query(query, false).map_err(|e| e.to_string())?;
    let bindings = answers
        .result
        .iter()
        .filter(|r| r.expressions.iter().all(|e| e.value != regorus::Value::Bool(false)))
        .map(|r| {
            r.bindings
                .to_json_str()
                .map_err(|e| e.to_string())
                .and_then(|t| serde_json::from_str(&t).map_err(|e| e.to_string()))
        })
        .collect::<Result<Vec<Value>, _>>()?;
    Ok(Value::Array(bindings))
}

/// Sets come as lists in any order, and numbers as whole or with a fraction.
fn ordered(value: &Value) -> Value {
    match value {
        Value::Array(items) => {
            let mut items: Vec<Value> = items.iter().map(ordered).collect();
            items.sort_by_key(Value::to_string);
            Value::Array(items)
        }
        Value::Object(fields) => fields.iter().map(|(k, v)| (k.clone(), ordered(v))).collect(),
        Value::Number(n) => n.as_f64().map_or_else(|| value.clone(), |f| serde_json::json!(f)),
        other => other.clone(),
    }
}
