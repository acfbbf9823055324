//! `capability mint|show|attenuate|revoke`.

use std::io::Read;
use std::path::Path;

use chaperone_capability::{Holder, HolderKey, Narrowing, SigningKey};
use chaperone_protocol::Request;
use serde_json::{Value, json};

use crate::cli::Capability;
use crate::connect::Broker;
use crate::out::say;
use crate::report::Report;
use crate::show;

pub fn capability(command: &Capability) -> Result<u8, Report> {
    match command {
        Capability::Mint { claims } => {
            let claims: Value = serde_json::from_str(&read(claims)?).map_err(Report::of)?;
            let answer = Broker::reach()?.ask(&Request::CapabilityMint { claims })?;
            say!("{}", show::text(&answer, "token"));
        }
        Capability::Show { session } => {
            let token = Path::new(session);
            let answer = if token.is_file() {
                json!(chaperone_capability::inspect(read(token)?.trim()).map_err(Report::of)?)
            } else {
                Broker::reach()?.ask(&Request::CapabilityShow { session: session.clone() })?
            };
            show::json(&answer);
        }
        Capability::Attenuate { token, claims, key } => say!("{}", attenuate(token, claims, key)?),
        Capability::Revoke { jti } => {
            Broker::reach()?.ask(&Request::CapabilityRevoke { jti: jti.clone() })?;
            say!("revoked {jti}");
        }
    }
    Ok(0)
}

/// Narrow a token without the issuer, signed with the holder's own key.
fn attenuate(token: &Path, claims: &Path, key: &Path) -> Result<String, Report> {
    let claims: Value = serde_json::from_str(&read(claims)?).map_err(Report::of)?;
    let narrowing = Narrowing {
        sub: claims.get("sub").and_then(Value::as_str).map(str::to_owned),
        permissions: serde_json::from_value(claims.get("permissions").cloned().unwrap_or_else(|| json!([])))
            .map_err(Report::of)?,
        exp: claims.get("exp").and_then(Value::as_u64),
        uses: claims.get("uses").and_then(Value::as_u64).and_then(|u| u32::try_from(u).ok()),
    };
    let wrong = || Report::new("invalid key file: expected 32 bytes in hex").exit(2);
    let text = read(key)?;
    let mut bytes = [0u8; 32];
    let digits: Vec<u8> = text.trim().bytes().collect();
    if digits.len() != 64 {
        return Err(wrong());
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        let pair = std::str::from_utf8(pair).map_err(|_| wrong())?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
    }
    let holder = HolderKey::new(SigningKey::from_bytes(&bytes));
    let jti = chaperone_pipeline::authority::random_id()?;
    let now = u64::try_from(chaperone_pipeline::clock::unix()).unwrap_or(0);
    let made = chaperone_capability::attenuate(
        read(token)?.trim(),
        &narrowing,
        &Holder { jti: &jti, now, jkt: None },
        &holder,
    )
    .map_err(Report::of)?;
    Ok(made.into_string())
}

fn read(path: &Path) -> Result<String, Report> {
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin().take(1 << 20).read_to_string(&mut text).map_err(Report::of)?;
        return Ok(text);
    }
    std::fs::read_to_string(path).map_err(|e| Report::new(format!("{}: {e}", path.display())).exit(2))
}
