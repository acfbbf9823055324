use serde_json::Value;

use super::*;
use crate::profile::Profile;

const HOSTILE: &str = "/a b'c\"d$e`f,g:h%i\\j;k<l>&m--n*o[p]{q}(r)#é";

fn of(text: &str) -> Profile {
    Profile::parse(&format!("name = \"x\"\n{text}"), "x.toml").unwrap()
}

fn spreadsheet() -> Profile {
    Profile::find("spreadsheet", std::path::Path::new("/nowhere")).unwrap()
}

fn exported(target: Target, profile: &Profile, options: &Options) -> Vec<File> {
    export(target, "x", profile, options).unwrap()
}

fn text(target: Target, profile: &Profile) -> String {
    exported(target, profile, &Options::default()).iter().map(|file| file.text.as_str()).collect()
}

/// What a filter answers a call with: whether it is allowed, or the errno.
fn judge(filter: &Value, name: &str, args: [u64; 6]) -> Option<u64> {
    let number = |value: &Value| value.as_u64().unwrap();
    let fits = |rule: &&Value| {
        rule["names"].as_array().unwrap().iter().any(|n| n == name)
            && rule["args"].as_array().into_iter().flatten().all(|arg| {
                assert_eq!(arg["op"], "SCMP_CMP_MASKED_EQ");
                args[number(&arg["index"]) as usize] & number(&arg["value"]) == number(&arg["valueTwo"])
            })
    };
    let rules: Vec<&Value> = filter["syscalls"].as_array().unwrap().iter().filter(fits).collect();
    let actions: Vec<Option<u64>> = rules.iter().map(|rule| rule["errnoRet"].as_u64()).collect();
    for (rule, errno) in rules.iter().zip(&actions) {
        assert_eq!(rule["action"] == "SCMP_ACT_ALLOW", errno.is_none());
    }
    // Runtimes do not promise which of two rules holds.
    assert!(actions.iter().all(|action| *action == actions[0]), "{name} {args:x?}: {actions:?}");
    actions.first().copied().unwrap_or(filter["defaultErrnoRet"].as_u64())
}

fn filter(debug: bool) -> Value {
    let profile = of(if debug { "debug = true" } else { "" });
    let [file] = exported(Target::Seccomp, &profile, &Options::default()).try_into().unwrap();
    serde_json::from_str(&file.text).unwrap()
}

#[test]
fn a_filter_allows_what_a_cell_allows_and_refuses_the_rest() {
    let filter = filter(false);
    let call = |name: &str, args: [u64; 3]| judge(&filter, name, [args[0], args[1], args[2], 0, 0, 0]);
    let (allowed, eperm, enosys, no_family) = (None, Some(1), Some(38), Some(97));
    for (name, args, answer) in [
        ("read", [0, 0, 0], allowed),
        ("execve", [0, 0, 0], allowed),
        ("mount", [0, 0, 0], eperm),
        ("ptrace", [0, 0, 0], eperm),
        ("keyctl", [0, 0, 0], eperm),
        ("unshare", [0x1000_0000, 0, 0], eperm),
        ("io_uring_setup", [0, 0, 0], enosys),
        ("clone3", [0, 0, 0], enosys),
        ("clone", [0x100_0011, 0, 0], allowed),
        ("clone", [0x1000_0011, 0, 0], eperm),
        ("clone", [0x80, 0, 0], eperm),
        // Only the lower half counts in the kernel, so only it counts here.
        ("clone", [0x1_0000_0011, 0, 0], allowed),
        ("socket", [1, 0x80002, 0], allowed),
        ("socket", [2, 1, 6], allowed),
        ("socket", [10, 0x80802, 17], allowed),
        ("socket", [16, 3, 0], allowed),
        ("socket", [2, 3, 1], enosys),
        ("socket", [2, 1, 262], enosys),
        ("socket", [16, 3, 12], enosys),
        ("socket", [17, 3, 0], no_family),
        ("socket", [38, 5, 0], no_family),
        ("socket", [0x1_0000_0011, 3, 0], no_family),
        ("ioctl", [0, 0x5413, 0], allowed),
        ("ioctl", [0, 0x5412, 0], eperm),
        ("ioctl", [0, 0x1_0000_5412, 0], eperm),
        ("ioctl", [0, 0x541c, 0], eperm),
        ("prctl", [15, 0, 0], allowed),
        ("prctl", [47, 0, 0], eperm),
        ("prctl", [0x7_0000_001c, 0, 0], eperm),
        ("personality", [0x4_0000, 0, 0], allowed),
        ("personality", [0xffff_ffff, 0, 0], allowed),
        ("personality", [0x800_0000, 0, 0], eperm),
        ("setpriority", [0, 7, 0], allowed),
        ("setpriority", [2, 7, 0], eperm),
        ("ioprio_set", [3, 7, 0], eperm),
        ("prlimit64", [1, 0, 0], allowed),
        ("no_such_call", [0, 0, 0], enosys),
    ] {
        assert_eq!(call(name, args), answer, "{name} {args:x?}");
    }
}

#[test]
fn a_debugger_traces_where_the_profile_debugs() {
    assert_eq!(judge(&filter(true), "ptrace", [0; 6]), None);
    assert_eq!(judge(&filter(true), "mount", [0; 6]), Some(1));
}

#[test]
fn every_number_but_the_excepted_fits_one_mask() {
    for not in [&[0x5412, 0x541c, 0x5437][..], &[0], &[u32::MAX], &[1, 2, 10, 16], &[]] {
        let masks: Vec<_> = seccomp::all_but(not).collect();
        let fitting = |number: u32| masks.iter().filter(|(mask, value)| number & mask == *value).count();
        for bit in 0..32 {
            for near in not.iter().copied().chain([0, 7, 0xdead_beef]) {
                for number in [near, near ^ (1 << bit), near.wrapping_add(bit)] {
                    assert_eq!(
                        fitting(number),
                        usize::from(!not.contains(&number)),
                        "{number:#x} of {not:x?}"
                    );
                }
            }
        }
    }
}

#[test]
fn every_file_says_what_is_not_in_it() {
    let all =
        ["staging and commit", "questions to you", "There is no way out", "/workspace/out is read-only"];
    let of_a_filter = ["nothing else of it", "no refusal is recorded"];
    for (target, name, _) in TARGETS {
        for file in exported(*target, &spreadsheet(), &Options::default()) {
            let said = if file.name.contains(".seccomp.") { &of_a_filter[..] } else { &all };
            for said in said {
                assert!(file.text.contains(said), "{name}: {} lacks {said:?}", file.name);
            }
        }
    }
}

#[test]
fn a_value_of_the_environment_is_in_no_export() {
    let profile = of("[environment]\npass = [\"LANG\"]\nset = { API_KEY = \"hunter2hunter2\" }");
    let mut named = 0;
    for (target, name, _) in TARGETS {
        let text = text(*target, &profile);
        assert!(!text.contains("hunter2"), "{name}");
        named += usize::from(text.contains("API_KEY"));
    }
    // A filter knows no environment.
    assert_eq!(named, TARGETS.len() - 1);
    let wrong = of("[environment]\npass = [\"A B\"]");
    assert!(export(Target::Docker, "x", &wrong, &Options::default()).is_err());
}

#[test]
fn what_the_agent_may_not_read_is_not_shown() {
    let profile =
        of("[[mount]]\npath = \"/workspace/in\"\nactions = [\"list\"]\n[[mount]]\npath = \"/workspace/ok\"");
    let options = Options { workspace: Some("/home/me/work".into()), ..Options::default() };
    for target in [Target::Docker, Target::Podman, Target::Systemd, Target::AppArmor, Target::Mxc] {
        let all: String = exported(target, &profile, &options).into_iter().map(|file| file.text).collect();
        assert!(all.contains("/home/me/work/ok"), "{all}");
        assert!(!all.contains("/home/me/work/in"), "{all}");
        assert!(all.contains("/workspace/in is not shown"), "{all}");
    }
}

#[test]
fn names_that_are_listed_though_the_profile_hides_them_are_said_to_be() {
    for mount in ["actions = [\"read\"]", "hide_denied = true"] {
        let profile = of(&format!("[[mount]]\npath = \"/workspace\"\n{mount}"));
        assert!(text(Target::Docker, &profile).contains("WIDER than the profile: all names in /workspace"));
    }
}

#[test]
fn limits_are_the_profiles() {
    let profile = of("[limits]\nmemory = \"1GiB\"\nprocesses = 77\ncpu = \"150%\"\ntime = \"10m\"");
    for (target, parts) in [
        (
            Target::Docker,
            &[
                "--memory 1073741824",
                "--memory-swap 1073741824",
                "--pids-limit 77",
                "--cpus 1.50",
                "limit of time; the profile's is 600",
            ][..],
        ),
        (Target::Podman, &["--memory 1073741824", "--pids-limit 77", "--cpus 1.50", "--timeout 600"]),
        (Target::Systemd, &["MemoryMax=1073741824", "TasksMax=77", "CPUQuota=150%", "RuntimeMaxSec=600"]),
        (Target::Kubernetes, &["\"1073741824\"", "\"1500m\"", "activeDeadlineSeconds: 600", "podPidsLimit"]),
        (Target::Mxc, &["\"timeout\": 600000"]),
        (Target::Windows, &["<MemoryInMB>1024</MemoryInMB>"]),
    ] {
        let text = text(target, &profile);
        for part in parts {
            assert!(text.contains(part), "{target:?} lacks {part}: {text}");
        }
    }
}

#[test]
fn a_target_refuses_what_would_be_lost_in_it() {
    let port = Options { port: Some(8462), ..Options::default() };
    for target in [Target::Docker, Target::Systemd, Target::Seccomp, Target::Windows] {
        let error = export(target, "x", &spreadsheet(), &port).unwrap_err().to_string();
        assert!(error.contains("takes no --port"), "{error}");
    }
    let options = Options { workspace: Some("/x".into()), ..Options::default() };
    assert!(export(Target::Kubernetes, "x", &spreadsheet(), &options).is_err());
    assert!(export(Target::Windows, "x", &spreadsheet(), &options).is_err());
}

#[test]
fn the_way_out_is_the_only_one() {
    let port = Options { port: Some(8462), ..Options::default() };
    let sb = &exported(Target::Macos, &spreadsheet(), &port)[0].text;
    let network: Vec<&str> = sb.lines().filter(|l| l.contains("network") && !l.starts_with(';')).collect();
    assert_eq!(network, ["(deny network*)", "(allow network-outbound (remote ip \"localhost:8462\"))"]);
    let channel = Options { channel: Some("/run/s/channel".into()), ..Options::default() };
    for target in [Target::Docker, Target::Podman, Target::Systemd] {
        let files = exported(target, &spreadsheet(), &channel);
        assert_eq!(files[0].text.matches("/run/s/channel").count(), 2, "{}", files[0].text);
    }
}

#[test]
fn a_hostile_name_is_one_word_wherever_it_stands() {
    let options = Options { workspace: Some(HOSTILE.into()), ..Options::default() };
    let profile = of("[[mount]]\npath = \"/workspace\"");
    let docker = &exported(Target::Docker, &profile, &options)[0].text;
    let line = docker.lines().find(|l| l.contains("--mount")).unwrap().trim().trim_end_matches(" \\");
    let shell =
        std::process::Command::new("sh").args(["-c", &format!("printf '%s\\n' {line}")]).output().unwrap();
    let words = String::from_utf8(shell.stdout).unwrap();
    let [option, mount] = words.lines().collect::<Vec<_>>().try_into().unwrap();
    assert_eq!(option, "--mount");
    assert_eq!(
        mount,
        format!("type=bind,\"source={}\",target=/workspace,readonly", HOSTILE.replace('"', "\"\""))
    );
    assert_eq!(quote::unit("a\"%\\ $"), r#""a\"%%\\ $""#);
    assert_eq!(quote::unit_command("$x\ny\\n"), r#""$$x\ny\\n""#);
    assert_eq!(quote::apparmor("/a*[b]"), r"/a\*\[b\]");
    assert_eq!(quote::powershell("a'b\u{2019}c"), "'a''b\u{2019}\u{2019}c'");
    assert_eq!(quote::xml_comment("a---b"), "a- - -b");
}

#[test]
fn what_would_end_a_line_is_written_for_no_target() {
    for (target, name, _) in TARGETS {
        for wrong in ["/a\nb", "/a\u{202e}b", "/a\u{7f}"] {
            let from = toml::Value::String(wrong.to_owned());
            let profile = of(&format!("[[mount]]\npath = \"/workspace\"\nfrom = {from}"));
            assert!(export(*target, "x", &profile, &Options::default()).is_err(), "{name} {wrong:?}");
        }
    }
}

#[test]
fn a_script_of_several_lines_is_one_argument_where_it_can_be_written() {
    let options = Options { command: vec!["sh".into(), "-c".into(), "a\nb".into()], ..Options::default() };
    for target in [Target::Docker, Target::Podman, Target::Systemd, Target::Kubernetes, Target::Mxc] {
        export(target, "x", &spreadsheet(), &options).unwrap();
    }
    for target in [Target::Macos, Target::Windows] {
        assert!(export(target, "x", &spreadsheet(), &options).is_err());
    }
    let options = Options { command: vec!["a\u{1b}b".into()], ..Options::default() };
    assert!(export(Target::Docker, "x", &spreadsheet(), &options).is_err());
}

#[test]
fn a_name_that_objects_cannot_have_is_made_one_or_refused() {
    let files = export(Target::Kubernetes, "My_Profile", &spreadsheet(), &Options::default()).unwrap();
    assert!(files[0].text.contains("name: \"chaperone-my-profile\""), "{}", files[0].text);
    assert!(export(Target::Kubernetes, &"x".repeat(60), &spreadsheet(), &Options::default()).is_err());
}

#[test]
fn an_image_is_no_option_and_a_volume_holds_its_own_directories_alone() {
    let options = Options { image: Some("--privileged".into()), ..Options::default() };
    assert!(export(Target::Docker, "x", &spreadsheet(), &options).is_err());
    for (from, is_there) in [("a/b", true), ("/srv", false), ("../a", false)] {
        let profile = of(&format!("[[mount]]\npath = \"/workspace\"\nfrom = {from:?}"));
        assert_eq!(
            export(Target::Kubernetes, "x", &profile, &Options::default()).is_ok(),
            is_there,
            "{from}"
        );
    }
}

#[test]
fn a_directory_of_windows_is_one() {
    let at = |workspace: &str, profile: &str| {
        let options = Options { workspace: Some(workspace.into()), ..Options::default() };
        export(Target::Windows, "x", &of(profile), &options)
            .map(|files| files[0].text.clone())
            .map_err(|e| e.to_string())
    };
    let mount = "[[mount]]\npath = \"/workspace/a\"";
    assert!(
        at(r"C:\Users\me & co", mount).unwrap().contains(r"<HostFolder>C:\Users\me &amp; co\a</HostFolder>")
    );
    assert!(at(r"C:\x", mount).unwrap().contains("<Networking>Disable</Networking>"));
    for wrong in ["relative", r"\\server\share", "C:"] {
        assert!(at(wrong, mount).is_err(), "{wrong}");
    }
    assert!(at(r"C:\x", "[[mount]]\npath = \"/workspace\"\nfrom = \"/home/me\"").is_err());
}
