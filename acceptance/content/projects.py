"""Real projects, full of what looks like keys, configure, build and test in a cell with nobody to answer: nothing is asked, nothing is
masked. A real secret in the same tree is caught all the same."""
import os, shutil, textwrap

from harness.cell import DOCS, chaperone, in_cell, last_session, records, shell, write
from harness.claims import Skipped, check, claim

PROFILES = ["default", "source"]
SECRET = "AKIAZ7QRPDLBIVNHUXEM"

# Known answers of FIPS 180-4 and RFC 4231, as every library of cryptography has them.
HEADER = """
#ifndef LOCK_H
#define LOCK_H
#include <stddef.h>
#include <stdint.h>
#define LOCK_SECRET_KEY_BYTES 32
#define LOCK_API_KEY "lock_api_key_v1_8f14e45fceea167a5a36dedd4bea2543"
#define LOCK_PASSWORD_SALT "q7Gd81bK20sXz4PmN3vR+Lw/"
static const char lock_token_alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
typedef struct { uint32_t state[8]; uint64_t length; uint8_t block[64]; size_t held; } lock_secret_context;
void lock_hash(const uint8_t *data, size_t length, uint8_t out[32]);
void lock_authenticate(const uint8_t *secret_key, size_t n, const uint8_t *data, size_t length, uint8_t out[32]);
#endif
"""
SOURCE = r"""
#include "config.h"
#include "lock.h"
#include <string.h>
static const uint32_t k[64] = { %s };
static uint32_t turn(uint32_t x, int n) { return x >> n | x << (32 - n); }
static void mix(uint32_t s[8], const uint8_t *p) {
    uint32_t w[64], v[8];
    for (int i = 0; i < 16; i++) w[i] = (uint32_t)p[4*i] << 24 | p[4*i+1] << 16 | p[4*i+2] << 8 | p[4*i+3];
    for (int i = 16; i < 64; i++)
        w[i] = w[i-16] + (turn(w[i-15], 7) ^ turn(w[i-15], 18) ^ w[i-15] >> 3) + w[i-7] + (turn(w[i-2], 17) ^ turn(w[i-2], 19) ^ w[i-2] >> 10);
    memcpy(v, s, sizeof v);
    for (int i = 0; i < 64; i++) {
        uint32_t a = v[7] + (turn(v[4], 6) ^ turn(v[4], 11) ^ turn(v[4], 25)) + ((v[4] & v[5]) ^ (~v[4] & v[6])) + k[i] + w[i];
        uint32_t b = (turn(v[0], 2) ^ turn(v[0], 13) ^ turn(v[0], 22)) + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
        memmove(v + 1, v, 28); v[4] += a; v[0] = a + b;
    }
    for (int i = 0; i < 8; i++) s[i] += v[i];
}
static void hash2(const uint8_t *a, size_t n, const uint8_t *b, size_t m, uint8_t out[32]) {
    uint32_t s[8] = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 };
    uint8_t block[64]; size_t held = 0; uint64_t bits = (uint64_t)(n + m) * 8;
    for (size_t i = 0; i < n + m; i++) { block[held++] = i < n ? a[i] : b[i - n]; if (held == 64) { mix(s, block); held = 0; } }
    block[held++] = 0x80;
    if (held > 56) { memset(block + held, 0, 64 - held); mix(s, block); held = 0; }
    memset(block + held, 0, 56 - held);
    for (int i = 0; i < 8; i++) block[56 + i] = bits >> (56 - 8 * i);
    mix(s, block);
    for (int i = 0; i < 32; i++) out[i] = s[i / 4] >> (24 - 8 * (i %% 4));
}
void lock_hash(const uint8_t *data, size_t length, uint8_t out[32]) { hash2(data, length, data, 0, out); }
void lock_authenticate(const uint8_t *secret_key, size_t n, const uint8_t *data, size_t length, uint8_t out[32]) {
    uint8_t inner[64] = {0}, outer[64], first[32];
    memcpy(inner, secret_key, n > 64 ? 64 : n);
    for (int i = 0; i < 64; i++) { outer[i] = inner[i] ^ 0x5c; inner[i] ^= 0x36; }
    hash2(inner, 64, data, length, first); hash2(outer, 64, first, 32, out);
}
"""
TEST = r"""
#include "lock.h"
#include <stdio.h>
#include <string.h>
static const char *password = "correct horse battery staple 4242";
static const struct { const char *key, *data, *mac; } vectors[] = {
    { "Jefe", "what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843" },
};
static const char *secret_token = "7f3c9a526be14d0c9f2e8a41c07db35e1122334455667788";
int main(void) {
    uint8_t out[32]; char text[65];
    lock_hash((const uint8_t *)"abc", 3, out);
    for (int i = 0; i < 32; i++) sprintf(text + 2 * i, "%02x", out[i]);
    if (strcmp(text, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")) return 1;
    lock_authenticate((const uint8_t *)vectors[0].key, 4, (const uint8_t *)vectors[0].data, strlen(vectors[0].data), out);
    for (int i = 0; i < 32; i++) sprintf(text + 2 * i, "%02x", out[i]);
    if (strcmp(text, vectors[0].mac)) return 2;
    puts(password[0] == 'c' && secret_token[0] == '7' ? "all tests passed" : "");
    return 0;
}
"""
CONFIGURE = """#!/bin/sh
set -e
printf 'int main(void){return 0;}\\n' > conftest.c
cc conftest.c -o conftest && ./conftest && echo '#define HAVE_CC 1' > config.h
printf '#include <stdint.h>\\nuint64_t x;\\n' > conftest.c && cc -c conftest.c -o conftest.o && echo '#define HAVE_STDINT_H 1' >> config.h
rm -f conftest conftest.c conftest.o
sed 's/@CFLAGS@/-O1 -Wall/' Makefile.in > Makefile
"""
MAKEFILE = "CFLAGS=@CFLAGS@\nall: liblock.a\nlock.o: lock.c lock.h config.h\n\tcc $(CFLAGS) -c lock.c\nliblock.a: lock.o\n\tar rcs liblock.a lock.o\n" \
           "check: liblock.a\n\tcc $(CFLAGS) -I. tests/known.c liblock.a -o known && ./known\n"


def constants():
    """The first 32 bits of the cube roots of the first 64 primes."""
    primes = [n for n in range(2, 312) if all(n % d for d in range(2, n))]
    def root(n):
        low, high = 0, 1 << 40
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if middle ** 3 <= n << 96 else (low, middle - 1)
        return low & 0xFFFFFFFF
    return ", ".join(f"0x{root(p):08x}" for p in primes)


def c_library():
    write("lock.h", HEADER)
    write("lock.c", SOURCE % constants())
    write("tests/known.c", TEST)
    write("Makefile.in", MAKEFILE)
    os.chmod(write("configure", CONFIGURE), 0o755)
    shell(f"openssl req -x509 -newkey rsa:2048 -nodes -keyout /dev/null -subj /CN=ca -days 3 -out {DOCS}/tests/ca.pem 2>/dev/null")
    write("tests/vectors.txt", "".join(f"KEY = {i:02x}{'603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914df'}\nPT = {i * 7919:032x}\n" for i in range(400)))


def go_module():
    write("go.mod", "module example.org/lock\n\ngo 1.19\n")
    write("lock.go", textwrap.dedent("""
        package lock

        import ("crypto/hmac"; "crypto/sha256"; "encoding/hex")

        const apiKeyHeader = "X-Api-Key"
        var defaultSecretKey = "q7Gd81bK20sXz4PmN3vRLw8f"

        func Sign(secretKey, data string) string {
            m := hmac.New(sha256.New, []byte(secretKey)); m.Write([]byte(data)); return hex.EncodeToString(m.Sum(nil))
        }
        """))
    write("lock_test.go", textwrap.dedent("""
        package lock

        import "testing"

        func TestSign(t *testing.T) {
            token := "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
            if Sign("Jefe", "what do ya want for nothing?") != token { t.Fatal(defaultSecretKey) }
        }
        """))


def crate():
    write("Cargo.toml", "[package]\nname = \"lock\"\nversion = \"0.1.0\"\nedition = \"2021\"\n")
    write("src/lib.rs", """
        /// Not a secret.
        pub const API_KEY: &str = "q7Gd81bK20sXz4PmN3vRLw8f";
        pub fn token(secret_key: &str) -> u64 { secret_key.bytes().fold(0xcbf29ce484222325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100000001b3)) }
        #[test]
        fn known() { let password = "hunter2000!"; assert_eq!(token("a"), 0xaf63dc4c8601ec8c); assert!(!password.is_empty()); }
        """)


def package():
    write("package.json", '{"name": "lock", "version": "1.0.0", "type": "module", "scripts": {"build": "tsc -p .", "test": "node test.mjs"}}\n')
    write("tsconfig.json", '{"compilerOptions": {"target": "es2020", "module": "es2020", "strict": true, "outDir": "out"}, "files": ["lock.ts"]}\n')
    write("lock.ts", "export const apiKey: string = 'q7Gd81bK20sXz4PmN3vRLw8f';\nexport function token(secretKey: string): number { return secretKey.length; }\n")
    write("test.mjs", "import { token } from './out/lock.js';\nif (token('abc') !== 3) throw new Error('wrong');\nconsole.log('all tests passed');\n")


PROJECTS = [
    ("a C library with cryptography in it", c_library, ["cc", "make", "ar"], "./configure && make && make check", "all tests passed"),
    ("a Go module", go_module, ["go"], "export GOCACHE=/tmp/go GOFLAGS=-mod=mod GOPROXY=off HOME=/tmp; go vet ./... && go build ./... && go test ./...", "ok"),
    ("a crate", crate, ["cargo", "rustc"], "cargo build --offline 2>&1 && cargo test --offline 2>&1", "1 passed"),
    ("an npm project with TypeScript", package, ["npm", "tsc"], "npm run build && npm test", "all tests passed"),
]


def interrupted(session):
    return [(r.get("resource"), r["reasons"]) for r in records(session) if r.get("effect") in ("deny", "ask") and r.get("action") == "read"]


def built(make, needs, script, sign):
    for need in needs:
        if not shutil.which(need):
            raise Skipped(f"{need} is not installed here")
    make()
    for profile in PROFILES:
        with claim(f"{profile}: it configures, builds and tests"):
            told = in_cell("sh", "-c", f"({script}) >/tmp/log 2>&1; code=$?; tail -n 20 /tmp/log; exit $code", options=("--profile", profile, "--ask", "deny"))
            assert sign in told, told
        with claim(f"{profile}: nothing of it was asked about, refused or masked"):
            assert not interrupted(last_session()), interrupted(last_session())
        chaperone("discard", last_session())
    write("deploy.ini", f"[aws]\naccess = {SECRET}\n")
    shell(f"openssl genrsa 2048 2>/dev/null > {DOCS}/tls.pem")
    write("people.csv", "name,ssn\nAda Lovelace,536-22-8145\n")
    for profile in PROFILES:
        with claim(f"{profile}: a real secret in the same tree is caught"):
            told = in_cell("sh", "-c", "for f in deploy.ini tls.pem people.csv; do cat $f; done; true", options=("--profile", profile, "--ask", "deny"))
            assert SECRET not in told and "PRIVATE KEY" not in told and "536-22" not in told, told


for title, *project in PROJECTS:
    check(f"{title} builds in a cell", lambda project=project: built(*project))
