"""Each export by the checker of what it is for. Where none of that runs on Linux, the claim's name says what was looked at."""
import bz2, copy, glob, json, os, plistlib, re, subprocess
import xml.etree.ElementTree as xml

import exported as module
from docker_client import asked_of_docker
from exported import TOOLS, checker, exported, only, ran, written
from harness.cell import CHAPERONE, DOCS, WORK, chaperone, profile
from harness.claims import Skipped, claim

before = module.before
TARGETS = ["docker", "podman", "seccomp", "apparmor", "selinux", "systemd", "kubernetes", "mxc", "macos", "windows"]
SECRET = "hunter2-hunter2"


@claim
def help_names_every_target_and_an_export_is_written_or_printed():
    told = chaperone("export", "--help")
    assert all(f"- {target}:" in told for target in TARGETS), told
    out = os.path.join(WORK, "files")
    for target in TARGETS:
        chaperone("export", target, "spreadsheet", *([] if "--workspace" not in takes(target) else ["--workspace", place(target)]), "--output", out)
    assert len(os.listdir(out)) == 15, sorted(os.listdir(out))
    assert chaperone("export", "seccomp", "spreadsheet") == open(os.path.join(out, "chaperone-spreadsheet.seccomp.json")).read()


def takes(target):
    return {"docker": ["--workspace"], "podman": ["--workspace"], "apparmor": ["--workspace"], "systemd": ["--workspace"], "mxc": ["--workspace"], "windows": ["--workspace"]}.get(target, [])


def place(target):
    return r"C:\Users\me\reports" if target == "windows" else DOCS


@claim
def an_export_names_no_value_of_the_environment():
    profile("keyed", f'name = "keyed"\n[[mount]]\npath = "/workspace"\n[environment]\npass = ["LANG"]\nset = {{ API_KEY = "{SECRET}" }}\n')
    for target in TARGETS:
        for name, text in exported(target, profile="keyed").items():
            assert SECRET not in text, (target, name)


@claim
def what_a_target_cannot_hold_is_refused_with_what_it_takes():
    for words in (["docker", "spreadsheet", "--port", "80"], ["kubernetes", "spreadsheet", "--channel", "/x"], ["windows", "spreadsheet", "--workspace", "/x"],
                  ["docker", "spreadsheet", "--channel", os.path.join(os.environ["CHAPERONE_HOME"], "run", "broker.sock")]):
        done = ran(CHAPERONE, "export", *words, cwd=DOCS)
        assert done.returncode == 2 and done.stderr.startswith("chaperone: ") and not done.stdout, done
    assert "your whole home" in chaperone("export", "docker", "spreadsheet", "--workspace", os.environ["HOME"], fails=True)


@claim
def dockers_own_command_line_reads_the_export_as_the_wall_that_it_is():
    files = exported("docker", "--channel", "/run/s/channel")
    asked = asked_of_docker(files, LANG="C.UTF-8", SECRET=SECRET)
    host = asked["HostConfig"]
    assert host["NetworkMode"] == "none" and host["CapDrop"] == ["ALL"] and host["ReadonlyRootfs"] and not host["Privileged"], host
    assert not host["CapAdd"] and not host["Binds"] and not host["Devices"] and not host["PortBindings"], host
    options = {option.split("=", 1)[0]: option.partition("=")[2] for option in host["SecurityOpt"]}
    assert set(options) == {"no-new-privileges", "seccomp"}, options
    assert json.loads(options["seccomp"]) == json.loads(only(files, ".seccomp.json"))
    assert (host["Memory"], host["MemorySwap"], host["PidsLimit"]) == (2 << 30, 2 << 30, 256), host
    assert [(m["Source"], m["Target"], m.get("ReadOnly")) for m in host["Mounts"]] == [
        (f"{DOCS}/reports", "/workspace/reports", True), (f"{DOCS}/out", "/workspace/out", True), ("/run/s/channel", "/run/chaperone/channel", None)], host["Mounts"]
    assert set(host["Tmpfs"]) == {"/tmp", "/var/tmp"}, host["Tmpfs"]
    assert asked["User"].split(":")[0] != "0" and sorted(asked["Env"]) == ["HOME=/tmp", "LANG=C.UTF-8", "TERM"], asked
    assert asked["Cmd"] == ["sh"] and asked["Image"] == "agent-runtime", asked


@claim
def a_directory_of_any_name_is_one_mount_and_no_option():
    hostile = os.path.join(WORK, "a b,c\"d$(touch e)`f`'g;h --privileged")
    os.makedirs(hostile, exist_ok=True)
    asked = asked_of_docker(exported("docker", "--workspace", hostile, profile="default"))
    assert [(m["Source"], m["ReadOnly"]) for m in asked["HostConfig"]["Mounts"]] == [(hostile, True)], asked["HostConfig"]["Mounts"]
    assert not asked["HostConfig"]["Privileged"]
    unit = written("chaperone-hostile.service", only(exported("systemd", "--workspace", hostile, profile="default"), ".service"))
    verify(unit)
    assert apparmor(only(exported("apparmor", "--workspace", hostile, profile="default"), ".apparmor")).returncode == 0


def verify(unit):
    done = ran(checker("systemd-analyze", "systemd"), "verify", unit)
    assert done.returncode == 0 and not done.stderr.strip(), done


@claim
def systemd_verifies_the_unit_and_rates_its_exposure_at_1_5_or_less():
    analyze = checker("systemd-analyze", "systemd")
    for name in ("spreadsheet", "default", "source", "debug"):
        text = only(exported("systemd", "--channel", "/run/s/channel", profile=name), ".service")
        unit = written(f"chaperone-{name}.service", text)
        verify(unit)
        rate = lambda path: ran(analyze, "security", "--offline=true", "--no-pager", "--threshold=15", path)
        assert rate(unit).returncode == 0, rate(unit).stdout[-600:]
        # The checker tells a bare unit from it.
        bare = written("bare.service", "[Service]\nExecStart=/bin/sh\n")
        assert rate(bare).returncode != 0


def apparmor(text):
    parser = checker("apparmor_parser", "apparmor")
    return ran(parser, "--skip-kernel-load", "--skip-cache", "--quiet", written("profile.apparmor", text))


@claim
def apparmors_parser_takes_the_profile_and_refuses_a_broken_one():
    for name in ("spreadsheet", "debug"):
        text = only(exported("apparmor", "--channel", "/run/s/channel", profile=name), ".apparmor")
        done = apparmor(text)
        assert done.returncode == 0, done
        assert apparmor(text.replace("signal (send", "signal (sends")).returncode != 0
        rules = [line.strip() for line in text.splitlines() if not line.strip().startswith("#")]
        assert not any(re.match(r"(capability|mount|umount|pivot_root|network (inet|packet|raw)|change_profile|userns)", rule) for rule in rules), rules


def policy(*modules):
    """The reference policy of Debian with modules in CIL, compiled; the compiler looks after what must never be allowed."""
    compiler = checker("secilc", "secilc")
    reader = "/usr/libexec/selinux/hll/pp"
    base = "/usr/share/selinux/default/base.pp.bz2"
    if not (os.path.exists(reader) and os.path.exists(base)):
        raise Skipped("the reference policy is missing; scripts/ci-install brings selinux-policy-default", installable=True)
    cil = os.path.join(WORK, "base.cil")
    if not os.path.exists(cil):
        package = os.path.join(WORK, "base.pp")
        with open(package, "wb") as f, bz2.open(base) as compressed:
            f.write(compressed.read())
        text = subprocess.run([reader, package], capture_output=True, text=True, check=True).stdout
        # Users are made at the installation.
        kept = [line for line in text.splitlines() if not re.match(r"\((selinuxuser|selinuxuserdefault|userprefix) ", line)]
        with open(cil, "w") as f:
            f.write("\n".join(kept))
    files = [written(f"module{n}.cil", text) for n, text in enumerate(modules)]
    out = os.path.join(WORK, "policy")
    return ran(compiler, "-o", out, "-f", os.path.join(WORK, "contexts"), cil, *files), out


def rules(search, out, target, kind):
    done = ran(search, "-A", "-s", "chaperone_spreadsheet.process", "-t", target, "-c", kind, out)
    return [line for line in done.stdout.splitlines() if line.startswith("allow")]


@claim
def selinuxs_compiler_takes_the_module_with_the_reference_policy_and_no_rule_of_it_leads_out():
    text = only(exported("selinux"), ".cil")
    done, out = policy(text)
    assert done.returncode == 0, done
    search = checker("sesearch", "setools")
    assert any("read" in rule for rule in rules(search, out, "chaperone_spreadsheet.workspace", "file"))
    assert not any("write" in rule for rule in rules(search, out, "chaperone_spreadsheet.workspace", "file"))
    assert not rules(search, out, "shadow_t", "file") and not rules(search, out, "port_type", "tcp_socket")
    # Attacks as rules that somebody adds: the compiler refuses each, by what the module says of itself.
    for rule in ("(allow process self (capability (sys_admin)))", "(allow process http_port_t (tcp_socket (name_connect)))",
                 "(allow process etc_t (file (write)))", "(allow process init_t (process (ptrace)))"):
        weak, _ = policy(text.rstrip()[:-1] + rule + ")\n")
        assert weak.returncode != 0 and "neverallow" in weak.stderr, (rule, weak)


def documents(text):
    import yaml
    return list(yaml.safe_load_all(text))


def valid(objects):
    """By the schemas of Kubernetes, with no member that they do not know."""
    done = subprocess.run([os.path.join(TOOLS, "kubernetes/bin/python"), "-c", VALIDATE], input=json.dumps(objects), capture_output=True, text=True, timeout=120)
    return done.returncode == 0, done.stdout + done.stderr


VALIDATE = """
import json, sys, kubernetes_validate
for one in json.load(sys.stdin):
    kubernetes_validate.validate(one, "1.34", strict=True)
"""


@claim
def the_schemas_of_kubernetes_take_the_manifest_and_refuse_a_member_that_they_do_not_know():
    try:
        import yaml
    except ImportError:
        raise Skipped("PyYAML is missing; scripts/ci-install brings python3-yaml", installable=True)
    for options in ([], ["--port", "8462"]):
        files = exported("kubernetes", *options)
        objects = documents(only(files, ".kubernetes.yaml"))
        assert [o["kind"] for o in objects] == ["Namespace", "RuntimeClass", "NetworkPolicy", "Pod"]
        assert valid(objects) == (True, ""), valid(objects)
        wrong = copy.deepcopy(objects)
        wrong[3]["spec"]["hostNetwrk"] = True
        assert not valid(wrong)[0]
        restricted(objects[3]["spec"])
        network = objects[2]["spec"]
        assert network["podSelector"] == {} and network["policyTypes"] == ["Ingress", "Egress"] and "ingress" not in network, network
        peers = [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": "chaperone-broker"}}}]
        expected = [{"to": peers, "ports": [{"protocol": "TCP", "port": 8462}]}] if options else []
        assert network["egress"] == expected, network
        sandboxes(files)


def restricted(pod):
    """The controls of the restricted standard, as its page lists them; no program of it runs without a cluster."""
    assert not any(pod[name] for name in ("hostNetwork", "hostPID", "hostIPC"))
    assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] != 0
    assert all(set(v) - {"name"} <= {"emptyDir", "persistentVolumeClaim"} for v in pod["volumes"]), pod["volumes"]
    for container in pod["containers"]:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False and context["capabilities"] == {"drop": ["ALL"]} and not context["privileged"], context
        assert context["seccompProfile"]["type"] == "Localhost" and "ports" not in container
        assert all(m.get("readOnly") for m in container["volumeMounts"] if m["mountPath"].startswith("/workspace"))
    assert pod["automountServiceAccountToken"] is False


def sandboxes(files):
    """The pods in the objects of agent-sandbox are pods; the rest of them is looked at by name."""
    objects = documents(only(files, ".agent-sandbox.yaml"))
    assert [o["kind"] for o in objects] == ["Sandbox", "SandboxTemplate", "SandboxWarmPool", "SandboxClaim"]
    pods = [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": o["spec"]["podTemplate"]["spec"]} for o in objects[:2]]
    assert valid(pods) == (True, "")
    assert objects[1]["spec"]["networkPolicyManagement"] == "Managed" and "networkPolicy" in objects[1]["spec"]


@claim
def the_schemas_of_agent_sandbox_take_its_objects():
    folder = os.path.join(os.environ.get("CHAPERONE_CASES", "/nowhere"), "agent-sandbox")
    schemas = [path for path in glob.glob(os.path.join(folder, "*.yaml"))]
    if not schemas:
        raise Skipped("no package has the custom resource definitions of agent-sandbox; put them into CHAPERONE_CASES/agent-sandbox")
    import jsonschema, yaml
    known = {}
    for path in schemas:
        with open(path) as f:
            definition = yaml.safe_load(f)
        for version in definition["spec"]["versions"]:
            known[(f'{definition["spec"]["group"]}/{version["name"]}', definition["spec"]["names"]["kind"])] = closed(version["schema"]["openAPIV3Schema"])
    for options in ([], ["--port", "8462"]):
        for one in documents(only(exported("kubernetes", *options), ".agent-sandbox.yaml")):
            jsonschema.validate(one, known[(one["apiVersion"], one["kind"])])
            wrong = {**one, "spec": {**one["spec"], "noSuchMember": 1}}
            try:
                jsonschema.validate(wrong, known[(one["apiVersion"], one["kind"])])
            except jsonschema.ValidationError:
                continue
            raise AssertionError(f"{one['kind']}: a member that there is not is taken")


def closed(schema):
    """A server drops what a definition does not name; here it is a fault. Numbers with units are strings or integers."""
    if isinstance(schema, list):
        return [closed(s) for s in schema]
    if not isinstance(schema, dict):
        return schema
    out = {name: closed(value) for name, value in schema.items()}
    if schema.get("x-kubernetes-int-or-string"):
        out.pop("type", None)
    if isinstance(schema.get("properties"), dict) and schema["properties"] and "additionalProperties" not in schema and "metadata" not in schema.get("required", []):
        out["additionalProperties"] = False
    return out


def mxc(text):
    [reader] = glob.glob(os.path.join(TOOLS, "node_modules/@microsoft/mxc-sdk/bin/x64/lxc-exec")) or [None]
    if not reader or os.uname().machine != "x86_64":
        raise Skipped("mxc's reader for this architecture is in no package")
    return ran(reader, "--dry-run", written("export.mxc.json", text))


@claim
def mxcs_own_reader_takes_the_configuration_and_refuses_a_member_that_it_does_not_know():
    for options in ([], ["--port", "8462"]):
        text = only(exported("mxc", *options, command=["sh", "-c", "exit 0"]), ".mxc.json")
        done = mxc(text)
        # Its Linux containers take a proxy by another name: there it is refused for what they cannot do, not for how it is written.
        told = done.stdout + done.stderr
        assert ("validation passed" in told) if not options else ("parse error" not in told), told
        wrong = mxc(text.replace('"egress"', '"egres"'))
        assert wrong.returncode != 0 and "unknown field" in wrong.stdout + wrong.stderr, wrong
        read = json.loads(text)
        assert read["network"]["egress"] == {"default": "deny"} and read["filesystem"]["readwritePaths"] == []
        assert read["filesystem"]["readonlyPaths"] == [f"{DOCS}/reports", f"{DOCS}/out"]


def well_formed(text):
    """A Scheme reader's view of a Seatbelt profile: the lists of it. It is no checker of Seatbelt's."""
    tokens = re.findall(r';[^\n]*|"(?:[^"\\]|\\.)*"|#"(?:[^"\\]|\\.)*"|[()]|[^\s()";]+', text)
    tokens = [token for token in tokens if not token.startswith(";")]
    assert re.sub(r"\s", "", "".join(tokens)) == re.sub(r"\s", "", re.sub(r";[^\n]*", "", text)), "something is not read"
    stack = [[]]
    for token in tokens:
        if token == "(":
            stack.append([])
        elif token == ")":
            assert len(stack) > 1, "a list ends that did not begin"
            last = stack.pop()
            stack[-1].append(last)
        else:
            stack[-1].append(token)
    assert len(stack) == 1, "a list does not end"
    return stack[0]


@claim
def validated_only_the_seatbelt_profile_is_well_formed_and_leads_to_the_brokers_port_alone():
    for options in ([], ["--port", "8462"]):
        lists = well_formed(only(exported("macos", *options), ".sb"))
        assert lists[:2] == [["version", "1"], ["deny", "default"]]
        network = [l for l in lists if l[0] == "allow" and any(str(part).startswith("network") for part in l)]
        assert network == ([["allow", "network-outbound", ["remote", "ip", '"localhost:8462"']]] if options else []), network
        writes = [l for l in lists if l[0] == "allow" and "file-write*" in l]
        assert writes == [["allow", "file-read*", "file-write*", ["subpath", ["param", '"SCRATCH"']]]], writes
        lookups = [name for l in lists if l[:2] == ["allow", "mach-lookup"] for name in l[2:]]
        assert lookups and all(name[0] == "global-name" and "mDNSResponder" not in name[1] for name in lookups), lookups
    try:
        well_formed("(version 1))")
    except AssertionError:
        return
    raise AssertionError("a broken profile is taken")


@claim
def validated_only_the_configuration_profile_is_a_property_list_that_refuses_every_service():
    profile = plistlib.loads(only(exported("macos", command=["/opt/a & b/agent"]), ".mobileconfig").encode())
    [payload] = profile["PayloadContent"]
    assert payload["PayloadType"] == "com.apple.TCC.configuration-profile-policy"
    services = payload["Services"]
    assert {"SystemPolicyAllFiles", "SystemPolicyDesktopFolder", "SystemPolicyDocumentsFolder", "ScreenCapture", "Accessibility"} <= set(services)
    for [entry] in services.values():
        assert entry["Authorization"] == "Deny" and entry["Identifier"] == "/opt/a & b/agent" and entry["CodeRequirement"], entry
    assert re.fullmatch(r"[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}", profile["PayloadUUID"]) and profile["PayloadUUID"] != payload["PayloadUUID"]


@claim
def validated_only_the_windows_sandbox_has_no_network_and_maps_directories_read_only():
    files = exported("windows", "--workspace", r"C:\Users\a & b\reports", command=["agent.exe", 'say "x"'])
    sandbox = xml.fromstring(only(files, ".wsb"))
    assert sandbox.findtext("Networking") == "Disable" and sandbox.findtext("ClipboardRedirection") == "Disable" and sandbox.findtext("VGpu") == "Disable"
    mapped = [(m.findtext("HostFolder"), m.findtext("SandboxFolder"), m.findtext("ReadOnly")) for m in sandbox.iter("MappedFolder")]
    assert mapped == [(rf"C:\Users\a & b\reports\{n}", rf"C:\workspace\{n}", "true") for n in ("reports", "out")], mapped
    assert sandbox.findtext("LogonCommand/Command") == r'agent.exe "say \"x\""'
    package = xml.fromstring(only(files, ".appxmanifest.xml"))
    [application] = package.iter("{http://schemas.microsoft.com/appx/manifest/foundation/windows10}Application")
    assert application.get("{http://schemas.microsoft.com/appx/manifest/uap/windows10/10}TrustLevel") == "appContainer"
    assert not [e for e in package.iter() if "Capabilit" in e.tag]
    script = only(files, ".ps1")
    assert "-EnableControlledFolderAccess Enabled" in script and r"'C:\Users\a & b\reports\out'" in script
