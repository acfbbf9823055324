//! A pod under the restricted standard with a network policy that lets nothing in or out, and the same as objects of agent-sandbox.

use serde_json::{Value, json};

use super::target::{ExportError, File};
use super::wall::{HOME, Wall};
use super::{quote, seccomp};

/// Where a kubelet looks for filters, below its own directory for them.
const FILTERS: &str = "chaperone";
/// gVisor: a kernel of its own for each pod.
const RUNTIME: (&str, &str) = ("gvisor", "runsc");
const USER: u32 = 1000;
/// Longest name of an object.
const LONGEST: usize = 63;

pub(super) fn files(wall: &Wall<'_>) -> Result<Vec<File>, ExportError> {
    let name = label(wall)?;
    let filter = seccomp::file(wall)?;
    let mut notes = wall.notes();
    notes.push(format!(
        "Put {0} where each node has its filters: /var/lib/kubelet/seccomp/{FILTERS}/{0}.",
        filter.name
    ));
    notes.push(format!("The workspace is the claim {name}-workspace, which you make and fill. Values of variables are in the secret {name}-environment."));
    if wall.options.image.is_none() {
        notes.push(format!("Write the name of your image for {}.", wall.image()));
    }
    if wall.profile.limits.processes.is_some() {
        notes.push(
            "WIDER than the profile: a pod has no limit of processes; the kubelet's podPidsLimit is one."
                .to_owned(),
        );
    }
    notes.push(
        "WIDER than the profile: /proc and /sys show what the node's runtime does not mask.".to_owned(),
    );
    notes.push(
        "The runtime class is gVisor's; where no node has it, remove the class and runtimeClassName."
            .to_owned(),
    );
    let pod = pod(wall, &name, &filter.name);
    let objects =
        [namespace(&name), runtime(), network(wall, &name), object("v1", "Pod", &name, &name, pod.clone())];
    let sandboxes = sandboxes(wall, &name, &pod);
    notes.push("The same pod as objects of agent-sandbox is in the file beside it; apply one or the other after this namespace.".to_owned());
    Ok(vec![
        File { name: format!("{}.kubernetes.yaml", wall.title()), text: documents(&notes, &objects) },
        File { name: format!("{}.agent-sandbox.yaml", wall.title()), text: documents(&notes, &sandboxes) },
        filter,
    ])
}

/// The name as objects may be called: lower case, no underscore.
fn label(wall: &Wall<'_>) -> Result<String, ExportError> {
    let label = wall.title().to_ascii_lowercase().replace('_', "-");
    let label = label.trim_end_matches('-').to_owned();
    if label.len() + "-environment".len() > LONGEST {
        return Err(wall.unwritable("profile", wall.name, "its name is too long for an object"));
    }
    Ok(label)
}

fn object(version: &str, kind: &str, name: &str, namespace: &str, spec: Value) -> Value {
    json!({ "apiVersion": version, "kind": kind,
        "metadata": { "name": name, "namespace": namespace, "labels": labels(name) }, "spec": spec })
}

fn labels(name: &str) -> Value {
    json!({ "app.kubernetes.io/name": name, "app.kubernetes.io/managed-by": "chaperone" })
}

fn namespace(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": {
        "pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/enforce-version": "latest" } } })
}

fn runtime() -> Value {
    json!({ "apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": { "name": RUNTIME.0 }, "handler": RUNTIME.1 })
}

/// Of every pod in the namespace: nothing in, and nothing out but to the broker's pods where it has a port.
fn network(wall: &Wall<'_>, name: &str) -> Value {
    let spec = json!({ "podSelector": {}, "policyTypes": ["Ingress", "Egress"], "egress": egress(wall) });
    object("networking.k8s.io/v1", "NetworkPolicy", name, name, spec)
}

fn egress(wall: &Wall<'_>) -> Value {
    wall.options.port.map_or_else(
        || json!([]),
        |port| {
            json!([{ "to": [{ "podSelector": { "matchLabels": { "app.kubernetes.io/name": "chaperone-broker" } } }],
                "ports": [{ "protocol": "TCP", "port": port }] }])
        },
    )
}

fn pod(wall: &Wall<'_>, name: &str, filter: &str) -> Value {
    let mut limits = json!({});
    set(&mut limits, "memory", wall.memory.map(|bytes| json!(bytes.to_string())));
    set(&mut limits, "cpu", wall.cpu_percent.map(|percent| json!(format!("{}m", u64::from(percent) * 10))));
    let mut mounts = Vec::new();
    let mut volumes = Vec::new();
    for (volume, at) in [("tmp", "/tmp"), ("var-tmp", "/var/tmp")] {
        let mut memory = json!({ "medium": "Memory" });
        set(&mut memory, "sizeLimit", wall.memory.map(|bytes| json!(bytes.to_string())));
        volumes.push(json!({ "name": volume, "emptyDir": memory }));
        mounts.push(json!({ "name": volume, "mountPath": at }));
    }
    for shown in &wall.shown {
        let mut mount = json!({ "name": "workspace", "mountPath": shown.at, "readOnly": true });
        let below = shown.from.to_string_lossy();
        set(&mut mount, "subPath", (!below.is_empty()).then(|| json!(below)));
        mounts.push(mount);
    }
    if !wall.shown.is_empty() {
        let claim = json!({ "claimName": format!("{name}-workspace"), "readOnly": true });
        volumes.push(json!({ "name": "workspace", "persistentVolumeClaim": claim }));
    }
    let mut variables = vec![json!({ "name": "HOME", "value": HOME })];
    variables.extend(wall.environment().into_iter().map(|variable| {
        json!({ "name": variable, "valueFrom": { "secretKeyRef":
            { "name": format!("{name}-environment"), "key": variable, "optional": true } } })
    }));
    let container = json!({
        "name": "agent",
        "image": wall.image(),
        "command": wall.command(),
        "workingDir": wall.start(),
        "stdin": true,
        "env": variables,
        "resources": { "limits": limits.clone(), "requests": limits },
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "privileged": false,
            "readOnlyRootFilesystem": true,
            "runAsNonRoot": true,
            "runAsUser": USER,
            "runAsGroup": USER,
            "capabilities": { "drop": ["ALL"] },
            "seccompProfile": { "type": "Localhost", "localhostProfile": format!("{FILTERS}/{filter}") },
        },
        "volumeMounts": mounts,
    });
    let mut spec = json!({
        "runtimeClassName": RUNTIME.0,
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "hostNetwork": false,
        "hostPID": false,
        "hostIPC": false,
        "shareProcessNamespace": false,
        "restartPolicy": "Never",
        "hostname": "agent",
        // No name is resolved: the broker does that.
        "dnsPolicy": "None",
        "dnsConfig": { "nameservers": ["127.0.0.1"] },
        "securityContext": {
            "runAsNonRoot": true, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER,
            "seccompProfile": { "type": "Localhost", "localhostProfile": format!("{FILTERS}/{filter}") },
        },
        "containers": [container],
        "volumes": volumes,
    });
    set(&mut spec, "activeDeadlineSeconds", wall.seconds.map(|seconds| json!(seconds)));
    spec
}

/// A sandbox alone, and a template of it with a pool that is warm and a claim on one.
fn sandboxes(wall: &Wall<'_>, name: &str, pod: &Value) -> Vec<Value> {
    const CORE: &str = "agents.x-k8s.io/v1beta1";
    const MORE: &str = "extensions.agents.x-k8s.io/v1beta1";
    let template = json!({ "metadata": { "labels": labels(name) }, "spec": pod });
    vec![
        object(CORE, "Sandbox", name, name, json!({ "podTemplate": template })),
        object(
            MORE,
            "SandboxTemplate",
            name,
            name,
            json!({
                "podTemplate": template,
                "networkPolicyManagement": "Managed",
                "networkPolicy": { "ingress": [], "egress": egress(wall) },
            }),
        ),
        object(
            MORE,
            "SandboxWarmPool",
            name,
            name,
            json!({ "replicas": 1, "sandboxTemplateRef": { "name": name } }),
        ),
        object(MORE, "SandboxClaim", name, name, json!({ "warmPoolRef": { "name": name } })),
    ]
}

fn set(object: &mut Value, member: &str, value: Option<Value>) {
    if let (Some(members), Some(value)) = (object.as_object_mut(), value) {
        members.insert(member.to_owned(), value);
    }
}

fn documents(notes: &[String], objects: &[Value]) -> String {
    let mut out = quote::comment("#", notes);
    for object in objects {
        out.push_str("---\n");
        write(object, 0, &mut out);
    }
    out
}

/// YAML in blocks; every string is in double quotes as JSON has it, which YAML reads the same.
fn write(value: &Value, depth: usize, out: &mut String) {
    let margin = "  ".repeat(depth);
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (name, value) in members {
                out.push_str(&format!("{margin}{}:", key(name)));
                below(value, depth, out);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                out.push_str(&format!("{margin}-"));
                below(item, depth, out);
            }
        }
        scalar => out.push_str(&format!("{margin}{scalar}\n")),
    }
}

fn below(value: &Value, depth: usize, out: &mut String) {
    let is_block =
        value.as_object().is_some_and(|m| !m.is_empty()) || value.as_array().is_some_and(|a| !a.is_empty());
    if is_block {
        out.push('\n');
        write(value, depth + 1, out);
    } else {
        out.push_str(&format!(" {value}\n"));
    }
}

/// Names of members are plain words, some with a slash.
fn key(name: &str) -> String {
    if name.bytes().all(|b| b.is_ascii_alphanumeric()) { name.to_owned() } else { format!("{name:?}") }
}
