#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(dead_code, reason = "each test file uses its own part")]
use chaperone_capability::*;

pub const NOW: u64 = 1_716_196_400;

pub struct Office {
    pub issuer: LocalIssuer,
    pub key: VerifyingKey,
    pub holder: HolderKey,
    pub jkt: String,
}

pub fn office() -> Office {
    let issuer = SigningKey::from_bytes(&[1; 32]);
    let holder = SigningKey::from_bytes(&[2; 32]);
    Office {
        key: issuer.verifying_key(),
        jkt: thumbprint(holder.verifying_key().as_bytes()),
        issuer: LocalIssuer::new("home", issuer),
        holder: HolderKey::new(holder),
    }
}

impl Office {
    pub fn context(&self) -> Context<'_> {
        Context {
            issuer: "chaperone:home",
            issuer_key: &self.key,
            now: NOW,
            session: "s1",
            possession: Possession::Proven(&self.jkt),
            is_revoked: &|_| false,
        }
    }

    pub fn verify(&self, token: &str) -> Result<Verified, Rejection> {
        verify(token, &self.context())
    }

    pub fn root(&self, permissions: Vec<PermissionClaim>, uses: Option<u32>) -> Token {
        let request = Request { sub: "agent".into(), permissions, exp: None, nbf: None, uses, aud: None };
        self.mint(&request).unwrap()
    }

    pub fn mint(&self, request: &Request) -> Result<Token, MintError> {
        mint(request, &Issue { session: "s1", jti: "root", now: NOW, jkt: Some(&self.jkt) }, &self.issuer)
    }

    pub fn narrow(&self, parent: &str, jti: &str, narrowing: Narrowing) -> Result<Token, MintError> {
        attenuate(parent, &narrowing, &Holder { jti, now: NOW, jkt: None }, &self.holder)
    }
}

pub fn read(path: &str) -> PermissionClaim {
    PermissionClaim::path(Action::Read, path)
}

pub fn only(permissions: Vec<PermissionClaim>) -> Narrowing {
    Narrowing { permissions, ..Narrowing::default() }
}
